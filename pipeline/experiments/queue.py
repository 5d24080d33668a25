"""Parallel runs of a sweep in DVC's queue, whose workers use copies of the repository.

The workers outlive this process. DVC starts them and runs the tasks; this module waits for the
results, detects lost workers and divides the GPUs.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.experiments.dvc import PREFIX, Outcome, Repository, Run
from pipeline.experiments.gpus import SHARED
from pipeline.experiments.workspace import locked_workspace
from pipeline.repository import DVC, RepositoryError, last_lines
from pipeline.run import console

POLL_S = 3.0
LOST_POLLS = 3
"""Polls without any worker after which a running task counts as lost."""


def run_queue(
    repository: Repository, settings: Sequence[str], jobs: int, gpus: list[str]
) -> list[Outcome]:
    """Queue the missing experiments of a grid, start workers and wait.

    Args:
        repository: of the queue.
        settings: values of -S, see `grid`.
        jobs: largest number of workers.
        gpus: GPUs that the runs divide among themselves, see `gpus`; may be empty.

    Raises:
        SettingError: a setting does not match params.yaml; nothing has run.
        KeyboardInterrupt: Ctrl-C; the workers go on, and the same command waits for them again.
        RepositoryError: DVC cannot queue a run or start workers.
    """
    with locked_workspace(repository):
        runs = repository.runs(settings)
        outcomes, missing = repository.split_existing(runs)
        if outcomes:
            console.print(f"{len(outcomes)} of {len(runs)} runs exist already")
        if not missing:
            return outcomes
        _enqueue(repository, missing)
    _start_workers(repository, min(jobs, len(missing)), gpus)
    try:
        return outcomes + _wait(repository, missing, jobs, gpus)
    except KeyboardInterrupt:
        console.print(
            "The queue goes on. The same command waits for it again; `dvc queue status` shows it, "
            "`dvc queue stop --kill` ends it"
        )
        raise


def tasks(repository: Repository) -> dict[str, str]:
    """Return the status of each task in DVC's queue, by the name of the run.

    Args:
        repository: of the queue.

    Returns:
        Queued, Running, Success or Failed.
    """
    pattern = rf"^\w+\s+({PREFIX}\w+)\s.*\b(Queued|Running|Success|Failed)\s*$"
    return dict(re.findall(pattern, repository.output("dvc", "queue", "status"), re.MULTILINE))


def count_workers(repository: Repository) -> int:
    """Count the living workers of DVC's queue by their processes.

    `dvc queue status` counts the workers that answer in time, which may be none on a busy machine.

    Args:
        repository: of the queue.
    """
    alive = 0
    folder = repository.root / ".dvc" / "tmp" / "exps" / "celery"
    for path in folder.glob("dvc-exp-worker-*.json"):
        try:
            number = int(json.loads(path.read_text())["pid"])
            alive += b"queue-worker" in Path(f"/proc/{number}/cmdline").read_bytes()
        except (OSError, ValueError, KeyError):
            continue  # the process has ended, or the file is being written
    return alive


def _enqueue(repository: Repository, runs: Sequence[Run]) -> None:
    """Queue runs that are not yet queued or running. Failed ones are queued again."""
    known = tasks(repository)
    for number, run in enumerate(runs, start=1):
        status = known.get(run.name)
        if status in ("Queued", "Running"):
            console.print(f"{number}/{len(runs)} {run}: already {status.lower()}")
            continue
        if status is not None:
            repository.output("dvc", "queue", "remove", run.name)
        repository.output("dvc", "exp", "run", "--queue", *run.command)
        console.print(f"{number}/{len(runs)} {run}: queued")


def _start_workers(repository: Repository, number: int, gpus: list[str]) -> None:
    """Start workers until there are `number`. They pass their environment on to the stages."""
    if count_workers(repository) >= number:
        return
    environment = repository.environment | ({SHARED: ",".join(gpus)} if gpus else {})
    done = subprocess.run(
        [*DVC, "queue", "start", "-j", str(number)],
        cwd=repository.root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RepositoryError(f"dvc queue start: {last_lines(done.stderr, 2)}")


def _wait(repository: Repository, runs: Sequence[Run], jobs: int, gpus: list[str]) -> list[Outcome]:
    """Poll until every run is done, has failed or has lost its worker."""
    waiting = {run.name: run for run in runs}
    outcomes: list[Outcome] = []
    polls_without_worker = 0
    while waiting:
        time.sleep(POLL_S)
        polls_without_worker = 0 if count_workers(repository) else polls_without_worker + 1
        lost = polls_without_worker >= LOST_POLLS
        known, existing = tasks(repository), repository.names()
        for name, run in list(waiting.items()):
            status = known.get(name)
            if name in existing:
                outcome = Outcome(run, "done")
            elif status == "Failed":
                outcome = Outcome(run, "failed", _reason(repository, name))
            elif status != "Queued" and lost:
                outcome = Outcome(run, "failed", "its worker has ended; run the command again")
                _remove_task(repository, name)
            else:
                continue
            outcomes.append(outcome)
            del waiting[name]
            console.print(str(outcome))
        if lost and waiting:
            _start_workers(repository, min(jobs, len(waiting)), gpus)
            polls_without_worker = 0
    return outcomes


def _reason(repository: Repository, name: str) -> str:
    try:
        return last_lines(repository.output("dvc", "queue", "logs", name), 2)
    except RepositoryError as error:
        return str(error)


def _remove_task(repository: Repository, name: str) -> None:
    """Remove a task that has lost its worker, so that it can be queued again."""
    for command in ("kill", "remove"):
        try:
            repository.output("dvc", "queue", command, name)
        except RepositoryError as error:
            console.print(f"dvc queue {command} {name}: {error}")
