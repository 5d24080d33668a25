"""The plain loop: one `dvc exp run` after the other, in the workspace.

The dependable way. What exists is passed over, what fails is reported and does not end the rest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from pipeline.experiments.dvc import Repository, Run
from pipeline.experiments.workspace import Workspace, own_workspace
from pipeline.repository import DVC, last_lines
from pipeline.run import console

State = Literal["done", "was there", "failed", "unfinished"]


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    run: Run
    state: State
    reason: str = ""
    """Why it failed."""

    def __str__(self) -> str:
        """For people."""
        return f"{self.run.name} {self.run.point.label}: {self.state} {self.reason}".rstrip()


def run_grid(repository: Repository, settings: Sequence[str]) -> list[Outcome]:
    """Make the experiments that are not there yet, one after the other.

    Args:
        repository: whose workspace is used; it is as before afterwards.
        settings: after -S, see `grid`.

    Raises:
        SettingError: a setting does not fit params.yaml; nothing has run.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the run at work has ended.
    """
    outcomes = []
    with own_workspace(repository) as workspace, terminated_as_interrupted():
        runs = repository.runs(settings)
        there = repository.names()
        for number, run in enumerate(runs, start=1):
            where = f"{number}/{len(runs)} {run.name} {run.point.label}"
            if run.name in there:
                console.print(f"{where}: is there already")
                outcomes.append(Outcome(run, "was there"))
                continue
            console.print(f"{where}: running, {log_path(repository, run)}")
            outcomes.append(run_here(workspace, run))
    return outcomes


def left_over(repository: Repository, runs: Sequence[Run]) -> tuple[list[Outcome], list[Run]]:
    """Runs that are experiments already, and those that are to be made.

    Args:
        repository: that they are of.
        runs: what is asked for.
    """
    there = repository.names()
    outcomes = [Outcome(run, "was there") for run in runs if run.name in there]
    return outcomes, [run for run in runs if run.name not in there]


def run_here(workspace: Workspace, run: Run) -> Outcome:
    """One `dvc exp run` in the workspace, its output in a file.

    Args:
        workspace: this process's own.
        run: name and changes of params.yaml.
    """
    repository = workspace.repository
    workspace.begin(run.point)
    log = log_path(repository, run)
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as file:
        child = subprocess.Popen(
            [*DVC, "exp", "run", *run.command],
            cwd=repository.root, env=repository.environment, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, pass_fds=(workspace.lock,),
            start_new_session=True,
        )  # fmt: skip
        status = _wait(child)
    if status == 0 and run.name in repository.names():
        console.print(f"  done in {time.monotonic() - started:.0f} s")
        return Outcome(run, "done")
    reason = last_lines(log.read_text(errors="replace"), 2) or f"exit status {status}"
    console.print(f"  failed: {reason}", style="red")
    return Outcome(run, "failed", reason)


def log_path(repository: Repository, run: Run) -> Path:
    """What a run said.

    Args:
        repository: that it is of.
        run: the run.
    """
    return repository.state / "logs" / f"{run.name}.log"


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what must be restored is."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait; an interruption is passed on to the whole run, which then ends in order."""
    try:
        return child.wait()
    except KeyboardInterrupt:
        console.print("Interrupted: waiting until the run at work has ended")
        _signal_group(child, signal.SIGINT)
        try:
            child.wait()
        except KeyboardInterrupt:
            _signal_group(child, signal.SIGKILL)
            child.wait()
        raise


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)
