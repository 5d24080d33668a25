"""Fetches a released policy, named by its repository and version, once into a cache.

git and DVC are run as commands, so that the robot's own process imports neither.
"""

from __future__ import annotations

import contextlib
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
from pipeline.runtime.backends.engine_store import EngineStoreError, default_cache
from pipeline.runtime.deployment import DeploymentError

logger = logging.getLogger(__name__)

EXPORT = "artifacts/export"
"""The folder that stage export of a repository writes."""
_ADDRESS = re.compile(r"\w+://[^/]*/.+|([\w.-]+@)?[\w.-]+:[^/\\].*")
"""A git address: with a scheme, or as scp has it (user@host:path)."""
_REVISION = re.compile(r"([\w-]+@)?[^@:\s]+")
"""A revision as git and GTO name them: v1.0.0, main, pen-grasp-policy@v1.0.0."""


class ReleasedError(DeploymentError):
    """A released policy cannot be fetched."""


def fetch(name: str, cache: Path | None = None) -> Path:
    """The folder of a released policy, or the path itself where it is none.

    Args:
        name: a path, which is left alone where it exists, or REPOSITORY@REVISION: a git address or
            folder, and a version (v1.0.0), tag, branch or full commit.
        cache: below it fetched policies are kept, by repository and commit; None for the user's
            own cache folder.

    Raises:
        ReleasedError: there is no such revision, git or DVC is missing, the data cannot be fetched,
            or the cache cannot be written.
    """
    found = split(name)
    if found is None:
        return Path(name)
    repository, revision = found
    kept = releases(cache) / hashlib.sha256(repository.encode()).hexdigest()[:16]
    commit = _commit(repository, revision, kept)
    folder = kept / commit
    if not (folder / "policy.onnx").is_file():
        try:
            _download(repository, revision, commit, folder)
        except OSError as error:
            raise ReleasedError(
                f"{kept}: cannot be written: {error}; name another folder with "
                "load_policy(cache=…) or XDG_CACHE_HOME"
            ) from error
    with contextlib.suppress(OSError):  # a cache that is only read serves as well
        _reference(kept, revision).write_text(commit)
    return folder


def releases(cache: Path | None) -> Path:
    """Where fetched policies are kept.

    Args:
        cache: the folder given to `load_policy`; None for the user's own cache folder.
    """
    return cache / "releases" if cache else default_cache().with_name("releases")


def is_fetched(path: Path, cache: Path | None) -> bool:
    """Whether a policy lies where `fetch` puts those of other repositories.

    Args:
        path: of the policy.
        cache: the folder given to `load_policy`; None for the user's own cache folder.
    """
    try:
        return path.resolve().is_relative_to(releases(cache).resolve())
    except EngineStoreError:  # without a cache folder nothing was fetched
        return False


def _reference(kept: Path, revision: str) -> Path:
    """The file with the commit that a revision named when it was last asked for."""
    return kept / f"{quote(revision, safe='')}.ref"


def split(name: str) -> tuple[str, str] | None:
    """Split REPOSITORY@REVISION.

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


def _commit(repository: str, revision: str, kept: Path) -> str:
    """The commit that a revision names; the last known one where the repository is offline."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    done = _run(["git", "ls-remote", "--", repository], repository)
    if done.returncode:
        known = _reference(kept, revision)
        said = done.stderr.strip().replace("\n", " ")[-300:]
        if known.is_file():
            logger.warning(
                "%s cannot be reached (%s); using %s as it was fetched before",
                repository,
                said,
                revision,
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
                f"{repository}@{revision}: its data cannot be fetched: {said}; in a clone of it "
                "`python -m pipeline doctor` says what is wrong with the remote"
            )
        try:
            partial.rename(folder)
        except OSError:
            # Another process was faster and wrote the same files.
            if not (folder / "policy.onnx").is_file():
                raise


def _dvc(repository: str, commit: str) -> list[str]:
    """The command that starts DVC here."""
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
    # A robot that starts unattended must not wait for a password.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as error:
        raise ReleasedError(
            f"{repository}: {command[0]} is needed to fetch a policy and is not installed"
        ) from error
