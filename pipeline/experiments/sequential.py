"""Runs of a sweep one after the other, each a `dvc exp run` in the workspace.

Existing experiments are skipped; if a run fails, the others go on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from pipeline.experiments.dvc import Outcome, Repository, Run
from pipeline.experiments.workspace import Workspace, locked_workspace
from pipeline.repository import DVC, last_lines
from pipeline.run import console


def run_sequentially(repository: Repository, settings: Sequence[str]) -> list[Outcome]:
    """Run the missing experiments of a grid one after the other.

    Args:
        repository: whose workspace is used; it is restored afterwards.
        settings: values of -S, see `grid`.

    Raises:
        SettingError: a setting does not match params.yaml; nothing has run.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the current run has ended.
    """
    outcomes = []
    with locked_workspace(repository) as workspace, interrupted_by_sigterm():
        runs, existing = repository.runs(settings), repository.names()
        for number, run in enumerate(runs, start=1):
            if run.name in existing:
                console.print(f"{number}/{len(runs)} {run}: exists already")
                outcomes.append(Outcome(run, "existing"))
                continue
            console.print(f"{number}/{len(runs)} {run}: running, {log_path(repository, run)}")
            outcomes.append(run_in_workspace(workspace, run))
    return outcomes


def run_in_workspace(workspace: Workspace, run: Run) -> Outcome:
    """Run `dvc exp run` in the workspace, with its output in a file.

    Args:
        workspace: locked by this process.
        run: name and changes of params.yaml.
    """
    repository = workspace.repository
    workspace.record(run.point)
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
    """Path of the file with the output of a run.

    Args:
        repository: of the run.
        run: the run.
    """
    return repository.state / "logs" / f"{run.name}.log"


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C within the block, so that the workspace is restored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for a run. An interruption is forwarded to all its processes, which then end."""
    try:
        return child.wait()
    except KeyboardInterrupt:
        console.print("Interrupted: waiting for the current run to end")
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
