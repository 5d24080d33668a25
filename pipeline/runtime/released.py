"""A released policy by the name of its repository and version: fetched once, then at hand.

git and DVC are run as commands, so that the robot's own process imports neither.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from pipeline.repository import last_lines
from pipeline.runtime.session import DeploymentError

logger = logging.getLogger(__name__)

EXPORT = "artifacts/export"
"""What a repository's stage export writes."""
_ADDRESS = re.compile(r"\w+://[^/]*/.+|([\w.-]+@)?[\w.-]+:[^/\\].*")
"""A git address: with a scheme, or as scp has it (user@host:path)."""
_REVISION = re.compile(r"([\w-]+@)?[^@:\s]+")
"""What git allows in a name and gto makes of one: v1.0.0, main, pen-grasp-policy@v1.0.0."""


class ReleasedError(DeploymentError):
    """A released policy cannot be had."""


def fetch(name: str, cache: Path) -> Path:
    """The folder of a released policy, or the path itself where it is none.

    Args:
        name: a path, which is left alone where it exists, or REPOSITORY@REVISION: a git address or
            folder, and a version (v1.0.0), tag, branch or full commit.
        cache: where fetched policies are kept, by repository and commit.

    Raises:
        ReleasedError: there is no such revision, git or DVC is missing, or the data cannot be had.
    """
    found = split(name)
    if found is None:
        return Path(name)
    repository, revision = found
    shelf = cache / hashlib.sha256(repository.encode()).hexdigest()[:16]
    commit = _commit(repository, revision, shelf)
    folder = shelf / commit
    if not (folder / "policy.onnx").is_file():
        _download(repository, revision, commit, folder)
    (shelf / f"{quote(revision, safe='')}.ref").write_text(commit)
    return folder


def split(name: str) -> tuple[str, str] | None:
    """Take REPOSITORY@REVISION apart.

    Args:
        name: of a policy, or a path, which may hold an @ too.

    Returns:
        Repository (a folder absolute) and revision, or None where the name is a path.
    """
    if Path(name).exists():
        return None
    ways = [
        (name[: match.start()], name[match.end() :])
        for match in re.finditer("@", name)
        if _REVISION.fullmatch(name[match.end() :])
    ]
    for repository, revision in reversed(ways):  # a folder's own name may hold an @
        if repository and Path(repository).is_dir():
            return str(Path(repository).resolve()), revision
    return next((way for way in ways if _ADDRESS.fullmatch(way[0])), None)


def _commit(repository: str, revision: str, shelf: Path) -> str:
    """The commit that a revision names; the one at hand where the repository is not reached."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    done = _run(["git", "ls-remote", "--", repository], repository)
    if done.returncode:
        known = shelf / f"{quote(revision, safe='')}.ref"
        said = done.stderr.strip().replace("\n", " ")[-300:]
        if known.is_file():
            logger.warning(
                "%s is not reached (%s); taking the %s at hand", repository, said, revision
            )
            return known.read_text()
        raise ReleasedError(
            f"{repository}: git cannot read it: {said}; check the address with "
            f"`git ls-remote {repository}`"
        )
    named = {name: commit for commit, name in map(str.split, done.stdout.splitlines())}
    # An annotated tag's own line names the tag object, the line with ^{} its commit.
    for name in (f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}", f"refs/heads/{revision}"):
        if name in named:
            return named[name]
    ends = f"@{revision}^{{}}"
    commits = {commit for name, commit in named.items() if name.endswith(ends)}
    if len(commits) == 1:
        return commits.pop()
    versions = sorted({n[len("refs/tags/") : -len("^{}")] for n in named if n.endswith("^{}")})
    if commits:
        which = ", ".join(name for name in versions if name.endswith(f"@{revision}"))
        raise ReleasedError(f"{repository}: {revision} is several commits; name one of {which}")
    raise ReleasedError(
        f"{repository}: no version, tag or branch {revision!r}; its versions: "
        f"{', '.join(versions) or 'none'}; a commit is given with all its 40 digits"
    )


def _download(repository: str, revision: str, commit: str, folder: Path) -> None:
    logger.info("fetching %s of %s (%s)", revision, repository, commit[:10])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        partial = Path(place) / "export"
        words = ["get", repository, EXPORT, "--rev", commit, "-o", str(partial)]
        done = _run([*_dvc(repository, commit), *words, "-q"], repository)
        if done.returncode or not (partial / "policy.onnx").is_file():
            said = last_lines(done.stderr, 3) or f"no policy.onnx in {EXPORT}"
            raise ReleasedError(
                f"{repository}@{revision}: its data cannot be had: {said}; in a clone of it "
                "`python -m pipeline doctor` says what is wrong with the remote"
            )
        try:
            partial.rename(folder)
        except OSError:
            # Another process was quicker; what it put there is whole and the same.
            if not (folder / "policy.onnx").is_file():
                raise


def _dvc(repository: str, commit: str) -> list[str]:
    """How DVC is started here."""
    if importlib.util.find_spec("dvc") is not None:
        return [sys.executable, "-m", "dvc"]
    command = shutil.which("dvc")
    if command is None:
        raise ReleasedError(
            f"{repository}: DVC is needed to fetch a policy and is not installed: pip install dvc "
            "(dvc-s3 or dvc-ssh where the data lies there); or, on a machine that has it, "
            f"`dvc get {repository} {EXPORT} --rev {commit} -o export`, then load that folder"
        )
    return [command]


def _run(command: list[str], repository: str) -> subprocess.CompletedProcess[str]:
    # A robot that starts alone must not wait for somebody to type a password.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as error:
        raise ReleasedError(
            f"{repository}: {command[0]} is needed to fetch a policy and is not installed"
        ) from error
