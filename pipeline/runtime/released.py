"""Fetches a released policy, named by its repository and version, into a cache.

git and DVC run as commands, so that the robot's process imports neither.
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
"""The folder in a repository that the stage export writes."""
_ADDRESS = re.compile(r"\w+://[^/]*/.+|([\w.-]+@)?[\w.-]+:[^/\\].*")
"""A git address: with a scheme, or in the form of scp (user@host:path)."""
_REVISION = re.compile(r"([\w-]+@)?[^@:\s]+")
"""A revision as git and GTO name them: v1.0.0, main, pen-grasp-policy@v1.0.0."""


class ReleasedError(DeploymentError):
    """A released policy cannot be fetched."""


def fetch(name: str, cache: Path | None = None) -> Path:
    """Fetch a released policy and return its folder; return any other path unchanged.

    Args:
        name: a path, or REPOSITORY@REVISION: a git address or folder, and a version (v1.0.0), tag,
            branch or full commit. An existing path takes precedence.
        cache: folder for fetched policies, sorted by repository and commit; None for the user's
            cache folder.

    Raises:
        ReleasedError: the revision does not exist, git or DVC is missing, the data cannot be
            fetched, or the cache cannot be written.
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
    with contextlib.suppress(OSError):  # a read-only cache is fine
        _reference(kept, revision).write_text(commit)
    return folder


def releases(cache: Path | None) -> Path:
    """Return the folder for fetched policies.

    Args:
        cache: the folder given to `load_policy`; None for the user's cache folder.
    """
    return cache / "releases" if cache else default_cache().with_name("releases")


def is_fetched(path: Path, cache: Path | None) -> bool:
    """Tell whether a policy lies in the folder to which `fetch` writes.

    Args:
        path: path of the policy.
        cache: the folder given to `load_policy`; None for the user's cache folder.
    """
    try:
        return path.resolve().is_relative_to(releases(cache).resolve())
    except EngineStoreError:  # without a cache folder nothing was fetched
        return False


def _reference(kept: Path, revision: str) -> Path:
    """The file that stores the commit to which a revision last resolved."""
    return kept / f"{quote(revision, safe='')}.ref"


def split(name: str) -> tuple[str, str] | None:
    """Split REPOSITORY@REVISION.

    Args:
        name: name of a policy, or a path, which may also contain an @.

    Returns:
        Repository (an absolute path if it is a folder) and revision, or None for a path.
    """
    if Path(name).exists():
        return None
    ways = [
        (name[: match.start()], name[match.end() :])
        for match in re.finditer("@", name)
        if _REVISION.fullmatch(name[match.end() :])
    ]
    for repository, revision in reversed(ways):  # a folder's name may contain an @
        if repository and Path(repository).is_dir():
            return str(Path(repository).resolve()), revision
    return next((way for way in ways if _ADDRESS.fullmatch(way[0])), None)


def _commit(repository: str, revision: str, kept: Path) -> str:
    """Resolve a revision to a commit; use the last known one if the repository is offline."""
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
    # For an annotated tag, the plain line names the tag object and the line with ^{} the commit.
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
        raise ReleasedError(f"{repository}: {revision} names several commits; name one of {which}")
    raise ReleasedError(
        f"{repository}: no version, tag or branch {revision!r}; its versions: "
        f"{', '.join(versions) or 'none'}; give a commit with all 40 digits"
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
            # Another process may have written the same files in the meantime.
            if not (folder / "policy.onnx").is_file():
                raise


def _dvc(repository: str, commit: str) -> list[str]:
    """Return the command that starts DVC on this machine."""
    if importlib.util.find_spec("dvc") is not None:
        return [sys.executable, "-m", "dvc"]
    command = shutil.which("dvc")
    if command is None:
        raise ReleasedError(
            f"{repository}: DVC is needed to fetch a policy and is not installed: pip install dvc "
            "(dvc-s3 or dvc-ssh if the data is stored there); or, on a machine that has it, "
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
