"""The parallel way: DVC's queue, whose workers run experiments in copies of the repository.

Workers outlive this process.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.experiments.dvc import PREFIX, Repository, Run
from pipeline.experiments.gpus import SHARED
from pipeline.experiments.loop import Outcome, left_over
from pipeline.experiments.workspace import own_workspace
from pipeline.repository import DVC, RepositoryError, last_lines
from pipeline.run import console

POLL_S = 3.0
LOST_POLLS = 3
"""A task that runs without any worker this many polls long has lost it."""


def run_queue(
    repository: Repository, settings: Sequence[str], jobs: int, gpus: list[str]
) -> list[Outcome]:
    """Queue what is not there yet, start workers, wait for all of it.

    Args:
        repository: whose queue it is.
        settings: after -S, see `grid`.
        jobs: workers at most.
        gpus: that the runs share out among themselves, see `gpus`; none where empty.

    Raises:
        SettingError: a setting does not fit params.yaml; nothing has run.
        KeyboardInterrupt: Ctrl-C; the workers go on and the same command waits for them again.
        RepositoryError: DVC does not queue a run, or starts no workers.
    """
    with own_workspace(repository):
        runs = repository.runs(settings)
        outcomes, wanted = left_over(repository, runs)
        if outcomes:
            console.print(f"{len(outcomes)} of {len(runs)} runs are there already")
        if not wanted:
            return outcomes
        _enqueue(repository, wanted)
    _start_workers(repository, min(jobs, len(wanted)), gpus)
    try:
        return outcomes + _wait(repository, wanted, jobs, gpus)
    except KeyboardInterrupt:
        console.print(
            "The queue goes on. The same command waits for it again; `dvc queue status` shows it, "
            "`dvc queue stop --kill` ends it"
        )
        raise


def tasks(repository: Repository) -> dict[str, str]:
    """What DVC's queue holds: Queued, Running, Success or Failed, by the run's name.

    Args:
        repository: whose queue it is.
    """
    pattern = rf"^\w+\s+({PREFIX}\w+)\s.*\b(Queued|Running|Success|Failed)\s*$"
    return dict(re.findall(pattern, repository.dvc("queue", "status"), re.MULTILINE))


def living_workers(repository: Repository) -> int:
    """How many workers of DVC's queue are alive, by their processes.

    `dvc queue status` asks them and counts those that answer in time; on a busy machine none does.

    Args:
        repository: whose queue it is.
    """
    alive = 0
    folder = repository.root / ".dvc" / "tmp" / "exps" / "celery"
    for path in folder.glob("dvc-exp-worker-*.json"):
        try:
            number = int(json.loads(path.read_text())["pid"])
            alive += b"queue-worker" in Path(f"/proc/{number}/cmdline").read_bytes()
        except (OSError, ValueError, KeyError):
            continue  # gone, or just being written
    return alive


def _enqueue(repository: Repository, runs: Sequence[Run]) -> None:
    """Queue the runs that neither wait nor run already; failed ones again."""
    known = tasks(repository)
    for number, run in enumerate(runs, start=1):
        status = known.get(run.name)
        where = f"{number}/{len(runs)} {run.name} {run.point.label}"
        if status in ("Queued", "Running"):
            console.print(f"{where}: {status.lower()} already")
            continue
        if status is not None:
            repository.dvc("queue", "remove", run.name)
        repository.dvc("exp", "run", "--queue", *run.command)
        console.print(f"{where}: queued")


def _start_workers(repository: Repository, number: int, gpus: list[str]) -> None:
    """Bring the workers to a number; they hand their environment on to the stages."""
    if living_workers(repository) >= number:
        return
    environment = repository.environment | ({SHARED: ",".join(gpus)} if gpus else {})
    done = subprocess.run(
        [*DVC, "queue", "start", "-j", str(number)],
        cwd=repository.root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RepositoryError(f"dvc queue start: {last_lines(done.stderr, 2)}")


def _wait(repository: Repository, runs: Sequence[Run], jobs: int, gpus: list[str]) -> list[Outcome]:
    """Poll until every run is an experiment, has failed or has lost its worker."""
    waiting = {run.name: run for run in runs}
    outcomes: list[Outcome] = []
    alone = 0
    while waiting:
        time.sleep(POLL_S)
        alone = 0 if living_workers(repository) else alone + 1
        known, there = tasks(repository), repository.names()
        for name, run in list(waiting.items()):
            status = known.get(name)
            if name in there:
                outcome = Outcome(run, "done")
            elif status == "Failed":
                outcome = Outcome(run, "failed", _reason(repository, name))
            elif status != "Queued" and alone >= LOST_POLLS:
                outcome = Outcome(run, "failed", "its worker is gone; type the command again")
                _forget(repository, name)
            else:
                continue
            outcomes.append(outcome)
            del waiting[name]
            console.print(str(outcome))
        if alone >= LOST_POLLS and waiting:
            _start_workers(repository, min(jobs, len(waiting)), gpus)
            alone = 0
    return outcomes


def _reason(repository: Repository, name: str) -> str:
    try:
        return last_lines(repository.dvc("queue", "logs", name), 2)
    except RepositoryError as error:
        return str(error)


def _forget(repository: Repository, name: str) -> None:
    """Take a task without a worker out of the queue, so that it can be queued again."""
    for command in ("kill", "remove"):
        try:
            repository.dvc("queue", command, name)
        except RepositoryError as error:
            console.print(f"dvc queue {command} {name}: {error}")
