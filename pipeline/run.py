"""How a stage runs: console, progress, atomic output folders, seeds, provenance.

Knows nothing of robots, data or policies.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

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
SHELL = {"cli.py", "__main__.py"}
"""Modules whose code cannot change a result: they pass parameters on, which are hashed."""


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

    Yields an empty folder beside `out`; when the block ends well it takes the place of `out`, and
    when it fails what stood there stays untouched. A marker file says that a stage wrote the
    folder: one that holds anything else is not replaced.

    Args:
        out: the folder to make or replace.

    Raises:
        OutputError: `out` is a file, or a folder that no stage wrote.
    """
    require_own_folder(out)
    partial, previous = (out.with_name(f".{out.name}.{name}") for name in ("partial", "previous"))
    _remove(partial, previous)
    partial.mkdir(parents=True)
    (partial / MARKER).touch()
    try:
        yield partial
    except BaseException:
        _remove(partial)
        raise
    if out.exists():
        out.rename(previous)
    partial.rename(out)
    _remove(previous)


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


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path) -> str:
    """Hash of every file below a folder: names and bytes.

    Args:
        folder: for instance a zarr.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def code_hash() -> str:
    """Hash of the pipeline's modules that are loaded, without the command line's."""
    package = Path(__file__).parent
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    files = {
        Path(file)
        for file in loaded
        if file is not None and package in Path(file).parents and Path(file).name not in SHELL
    }
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(package)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


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
