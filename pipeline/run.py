"""How a stage runs: console, progress, atomic output folders, versions.

Knows nothing of robots, data or policies.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from pipeline.errors import PipelineError

console = Console(highlight=False, soft_wrap=True)
Item = TypeVar("Item")
MARKER = ".stage"
"""Empty file in every folder that a stage wrote."""


class OutputError(PipelineError):
    """An output folder cannot be written."""


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Pass items on and show how far it is; silent where the output is no terminal.

    Args:
        items: what is worked on.
        description: what is being done, for instance "Planning".
        total: number of items.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """A folder that appears whole or not at all.

    Yields an empty folder beside `out`. When the block ends well, it takes the place of `out`; when
    the block fails, `out` stays as it was. If a run was killed between the two renames, the next
    one first puts the last good folder back. A marker file says that a stage wrote the folder; a
    folder that holds anything else is not replaced.

    Args:
        out: the folder to make or replace.

    Raises:
        OutputError: `out` is a file, a folder that no stage wrote, or another run is writing it.
    """
    partial, previous = (out.with_name(f".{out.name}.{name}") for name in ("partial", "previous"))
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = _claim(partial, out)
    try:
        if previous.exists() and not out.exists():
            previous.rename(out)
        require_own_folder(out)
        _remove(previous)
        yield partial
        if out.exists():
            out.rename(previous)
        partial.rename(out)
        _remove(previous)
    except BaseException:
        _remove(partial)
        raise
    finally:
        os.close(lock)


def _claim(partial: Path, out: Path) -> int:
    """Make the folder that is written to, locked for as long as this process holds it open.

    Returns:
        The descriptor that holds the lock.
    """
    fresh = partial.with_name(f"{partial.name}.{uuid4().hex}")
    fresh.mkdir()
    (fresh / MARKER).touch()
    lock = os.open(fresh, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        _remove_abandoned(partial)
        fresh.rename(partial)
    except OSError:  # not empty: another run's
        _remove(fresh)
        os.close(lock)
        raise OutputError(
            f"{out}: another run is writing it; wait until it has ended, or name another --out"
        ) from None
    return lock


def _remove_abandoned(partial: Path) -> None:
    """Remove what a killed run left. A folder that a living run holds locked stays."""
    try:
        held = os.open(partial, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(partial)
    except BlockingIOError:
        pass  # the rename onto it then fails
    finally:
        os.close(held)


def require_own_folder(out: Path) -> None:
    """Refuse to write over what is not a stage's.

    Args:
        out: the folder to make or replace.

    Raises:
        OutputError: `out` is a file, or a folder that no stage wrote.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out}: is a file, expected a folder to write to; name another --out")
    content = sorted(path.name for path in out.iterdir())
    if content and MARKER not in content:
        raise OutputError(
            f"{out}: holds {', '.join(content[:3])}{' …' if len(content) > 3 else ''} and was not "
            "written by a stage, so it is not replaced; name another --out, or empty it"
        )


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)


def write_json(path: Path, data: Any) -> None:
    """Write JSON beside its place, then rename; keys keep their order.

    Args:
        path: the file.
        data: anything that JSON knows; NaN and infinity are refused.

    Raises:
        ValueError: a number is not finite.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    partial.replace(path)


def state_root(stage: str) -> Path:
    """Where a stage keeps what outlives a run: below the repository in DVC's runs, else here.

    DVC names the original repository in DVC_ROOT, in temporary and queued runs too.

    Args:
        stage: its name.
    """
    return Path(os.environ.get("DVC_ROOT", ".")) / ".state" / stage


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of installed packages, "not installed" for the others.

    Args:
        packages: names as pip knows them.
    """
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
