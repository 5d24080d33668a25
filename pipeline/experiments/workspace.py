"""Locks the workspace for one sweep at a time and restores it afterwards.

`dvc exp run` leaves the params.yaml, dvc.lock and results of its run in the workspace. Its option
--temp would not, but it copies all data of the chain for every run.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.experiments.dvc import LOCK_FILE, Repository
from pipeline.experiments.grid import FILE, Point, with_values
from pipeline.params import load_params
from pipeline.repository import RepositoryError
from pipeline.run import console, write_json

JOURNAL = "before.json"
"""The original params.yaml and dvc.lock, kept for as long as a sweep may have changed them."""


@dataclass(frozen=True)
class Workspace:
    """A workspace that this process has locked."""

    repository: Repository
    lock: int
    """Descriptor of the lock. A child that inherits it holds the lock even if this process dies."""

    def record(self, point: Point) -> None:
        """Record the files before a run changes them, and the changes that it makes.

        Args:
            point: of the run.
        """
        before = {name: _read(self.repository.root / name) for name in (FILE, LOCK_FILE)}
        journal = self.repository.state / JOURNAL
        if journal.exists():
            before = json.loads(journal.read_text())["before"]
        write_json(journal, {"before": before, "values": dict(point.values)})

    def restore(self) -> None:
        """Restore params.yaml and dvc.lock, and the results that the cache still has."""
        journal = self.repository.state / JOURNAL
        if not journal.exists():
            return
        for name, text in json.loads(journal.read_text())["before"].items():
            path = self.repository.root / name
            if text is None:
                path.unlink(missing_ok=True)
            elif text != _read(path):
                path.write_text(text)
        try:
            self.repository.output("dvc", "checkout", "--force", "--quiet")
        except RepositoryError:
            console.print(
                "params.yaml and dvc.lock are restored; some results are not in the cache, and the "
                "next `dvc repro` makes them again"
            )
        journal.unlink()


@contextmanager
def locked_workspace(repository: Repository) -> Iterator[Workspace]:
    """Wait for the workspace and lock it; restore it at the end, and first after a killed sweep.

    Args:
        repository: of the workspace.
    """
    repository.state.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(repository.state / "lock", os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(
                "Waiting: another sweep, or the last run of a killed sweep, uses this workspace"
            )
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        workspace = Workspace(repository, descriptor)
        _recover(workspace)
        try:
            yield workspace
        finally:
            workspace.restore()
    finally:
        os.close(descriptor)


def _recover(workspace: Workspace) -> None:
    """Restore the workspace after a killed sweep, unless params.yaml was edited since."""
    repository = workspace.repository
    journal = repository.state / JOURNAL
    if not journal.exists():
        return
    content = json.loads(journal.read_text())
    path, before = repository.root / FILE, content["before"][FILE]
    now = _read(path)
    if now in (before, repository.output("git", "show", f"HEAD:{FILE}")) or _was_set_by_run(
        repository, before, content["values"]
    ):
        console.print("A sweep was killed here: params.yaml and dvc.lock are restored first")
        workspace.restore()
        return
    kept = journal.with_name("params.before.yaml")
    kept.write_text(before)
    journal.unlink()
    console.print(
        f"A sweep was killed here, and {FILE} was edited since, so it is not restored. {kept} "
        "holds its content before that sweep"
    )


def _was_set_by_run(repository: Repository, before: str, values: dict[str, object]) -> bool:
    """Tell whether params.yaml equals its earlier content with the values of a run."""
    copy = repository.state / f"{JOURNAL}.yaml"
    copy.write_text(before)
    try:
        return with_values(load_params(copy), values) == repository.params()
    except PipelineError:
        return False
    finally:
        copy.unlink()


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
