"""What all stages need: console, progress, atomic output folders, versions."""

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
"""Empty file that marks the folders which stages wrote."""


class OutputError(PipelineError):
    """An output folder cannot be written."""


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield items and show the progress if the output is a terminal.

    Args:
        items: items of the work.
        description: name of the work, for instance "Planning".
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
    """Write a folder completely or not at all.

    Yields an empty folder beside `out`, which replaces `out` when the block ends; if the block
    fails, `out` stays unchanged. If a run was killed between the two renames, the next one restores
    the previous folder first. A marker file shows that a stage wrote the folder; other folders are
    not replaced.

    Args:
        out: the folder to make or replace.

    Raises:
        OutputError: `out` is a file or a folder that no stage wrote, or another run is writing it.
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
    """Create the folder to write, and lock it for as long as this process keeps it open.

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
    except OSError:  # the folder exists: another run writes it
        _remove(fresh)
        os.close(lock)
        raise OutputError(
            f"{out}: another run is writing it; wait until it has ended, or name another --out"
        ) from None
    return lock


def _remove_abandoned(partial: Path) -> None:
    """Remove the folder of a killed run. A folder that a living run has locked stays."""
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
    """Check that a folder may be replaced.

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
    """Write a JSON file beside its place, then rename it. Keys keep their order.

    Args:
        path: the file.
        data: anything that JSON can represent, without NaN and infinity.

    Raises:
        ValueError: a number is not finite.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    partial.replace(path)


def state_root(stage: str) -> Path:
    """Return the folder for state that a stage keeps between runs.

    It is below the original repository in all of DVC's runs, because DVC sets DVC_ROOT in temporary
    and queued runs too; otherwise it is below the current folder.

    Args:
        stage: name of the stage.
    """
    return Path(os.environ.get("DVC_ROOT", ".")) / ".state" / stage


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of packages, or "not installed".

    Args:
        packages: names as in pip.
    """
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
