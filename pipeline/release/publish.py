"""The steps of a release. Each can be repeated, so the same command continues a failed push.

Order: check everything, write and commit the card, tag, push the data, push the tags. So the data
of every tag that is pushed are there.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.doctor import remotes
from pipeline.release.status import Artifact, Repository
from pipeline.repository import RepositoryError


def tag_of(artifact: Artifact, version: str) -> str:
    """The tag that gto gives a version of an artifact.

    Args:
        artifact: of dvc.yaml.
        version: for instance v1.0.0.
    """
    return f"{artifact.name}@{version}"


def require_free(repository: Repository, artifacts: list[Artifact], version: str) -> None:
    """Refuse a version that another commit has.

    Args:
        repository: where.
        artifacts: that are to get it.
        version: for instance v1.0.0.

    Raises:
        RepositoryError: another commit has it, or this one has another version.
    """
    head = repository.head()
    for artifact in artifacts:
        tag = tag_of(artifact, version)
        taken = repository.commit_of(tag)
        if taken and taken != head:
            raise RepositoryError(
                f"{tag} exists already, at commit {taken[:10]} (here is {head[:10]}); "
                "take the next version"
            )


def require_pushable(repository: Repository, artifacts: list[Artifact], version: str) -> None:
    """Refuse before anything is written what could not be pushed.

    Args:
        repository: where.
        artifacts: that are to get the version.
        version: for instance v1.0.0.

    Raises:
        RepositoryError: git's or DVC's remote is missing, does not answer, is ahead or has the tag.
    """
    origin, branch, head = repository.git_remote(), repository.branch(), repository.head()
    listed = repository.run(
        "git", "ls-remote", origin, hint=f"look at the address: git remote get-url {origin}"
    )
    there = {name: commit for commit, name in (line.split() for line in listed.splitlines())}
    for artifact in artifacts:
        tag = tag_of(artifact, version)
        at = there.get(f"refs/tags/{tag}^{{}}", there.get(f"refs/tags/{tag}", ""))
        if at and at != repository.commit_of(tag):
            raise RepositoryError(
                f"{tag} exists already in {origin}, at commit {at[:10]}; git fetch --tags, "
                "then take the next version"
            )
    theirs = there.get(f"refs/heads/{branch}", "")
    if theirs and repository.ask("git", "merge-base", "--is-ancestor", theirs, head).returncode:
        raise RepositoryError(
            f"{origin}/{branch} has commits that are not here; git pull --rebase, make repro, "
            "then release"
        )
    require_remote(repository.root)


def require_remote(root: Path) -> None:
    """Refuse where DVC's remote does not answer.

    Args:
        root: the repository.

    Raises:
        RepositoryError: there is none, or it does not answer; what to type.
    """
    remote = remotes.examine(root)
    if remote.status == "problem" or remote.found == "none":
        raise RepositoryError(f"DVC remote: {remote.found}; {remote.remedy}")


def commit_card(repository: Repository, path: Path, text: str, version: str) -> bool:
    """Write the card and commit it, so that the tagged commit holds it.

    Args:
        repository: where.
        path: of the card, from the root.
        text: of the card.
        version: for the commit's subject.

    Returns:
        Whether a commit was made: none where the card stands there already.
    """
    (repository.root / path).write_text(text)
    repository.run("git", "add", "--", str(path))
    if repository.ask("git", "diff", "--cached", "--quiet").returncode == 0:
        return False
    repository.run("git", "commit", "-q", "-m", f"Release {version}", "--", str(path))
    return True


def tag(repository: Repository, artifacts: list[Artifact], version: str) -> list[str]:
    """Register the version of every artifact with gto.

    Args:
        repository: where.
        artifacts: of dvc.yaml.
        version: for instance v1.0.0.

    Returns:
        The tags, including those that existed already.
    """
    tags = []
    for artifact in artifacts:
        name = tag_of(artifact, version)
        if not repository.commit_of(name):
            repository.register(artifact, version)
        tags.append(name)
    return tags


def push(repository: Repository, tags: list[str]) -> str:
    """Push data, run cache, branch and tags; may be repeated.

    Args:
        repository: where.
        tags: to push.

    Returns:
        What was pushed where, as a sentence.

    Raises:
        RepositoryError: a push failed; the same command goes on from here.
    """
    again = "what was sent is kept: mend it (`python -m pipeline doctor`), then the same command"
    repository.run("dvc", "push", "--run-cache", hint=again)
    origin, branch = repository.git_remote(), repository.branch()
    refs = [f"refs/tags/{name}" for name in tags]
    if branch:
        refs.append(f"HEAD:refs/heads/{branch}")
    # All or none: a tag without its branch, or one of two tags, would be half a release.
    repository.run("git", "push", "-q", "--atomic", origin, *refs, hint=again)
    return f"pushed data, {', '.join(tags)}{' and ' + branch if branch else ''} to {origin}"
