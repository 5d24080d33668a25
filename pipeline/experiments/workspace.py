"""The workspace while a sweep runs in it: one sweep at a time, and afterwards as it was before.

`dvc exp run` leaves params.yaml, dvc.lock and the results of its run behind.
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
"""What params.yaml and dvc.lock were, for as long as a sweep may have changed them."""


@dataclass(frozen=True)
class Workspace:
    """A workspace that is this process's own for a while."""

    repository: Repository
    lock: int
    """Descriptor of the lock; a child that inherits it keeps others out though this one dies."""

    def begin(self, point: Point) -> None:
        """Note what the files are before a run changes them, and what it changes.

        Args:
            point: of the run.
        """
        before = {name: _read(self.repository.root / name) for name in (FILE, LOCK_FILE)}
        journal = self.repository.state / JOURNAL
        if journal.exists():
            before = json.loads(journal.read_text())["before"]
        write_json(journal, {"before": before, "values": dict(point.values)})

    def restore(self) -> None:
        """Bring params.yaml and dvc.lock back, and with them what results the cache still has."""
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
            self.repository.dvc("checkout", "--force", "--quiet")
        except RepositoryError:
            console.print(
                "params.yaml and dvc.lock are as before; some results that belong to them are in "
                "no cache and come with the next `dvc repro`"
            )
        journal.unlink()


@contextmanager
def own_workspace(repository: Repository) -> Iterator[Workspace]:
    """Wait for the workspace, mend what a killed sweep left, and restore it at the end.

    Args:
        repository: whose workspace it is.
    """
    repository.state.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(repository.state / "lock", os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(
                "Waiting: another sweep, or the last run of one that was killed, is at work here"
            )
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        workspace = Workspace(repository, descriptor)
        _mend(workspace)
        try:
            yield workspace
        finally:
            workspace.restore()
    finally:
        os.close(descriptor)


def _mend(workspace: Workspace) -> None:
    """Restore what a killed sweep left, unless someone has changed it since."""
    repository = workspace.repository
    journal = repository.state / JOURNAL
    if not journal.exists():
        return
    content = json.loads(journal.read_text())
    path, before = repository.root / FILE, content["before"][FILE]
    now = _read(path)
    if now in (before, repository.git("show", f"HEAD:{FILE}")) or _is_of_run(
        repository, before, content["values"]
    ):
        console.print("A sweep was killed here: params.yaml and dvc.lock are brought back first")
        workspace.restore()
        return
    kept = journal.with_name("params.before.yaml")
    kept.write_text(before)
    journal.unlink()
    console.print(
        f"A sweep was killed here and {FILE} was changed since: it is left as it is; what it was "
        f"before that sweep is in {kept}"
    )


def _is_of_run(repository: Repository, before: str, values: dict[str, object]) -> bool:
    """Whether params.yaml is what it was before, with a run's values."""
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
