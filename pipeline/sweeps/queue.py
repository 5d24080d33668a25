"""The parallel way: DVC's queue, whose workers run experiments in copies of the repository.

Workers outlive this process. Each is started with its own GPU: DVC assigns none.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.run import console
from pipeline.sweeps.gpus import worker_environment
from pipeline.sweeps.loop import Outcome
from pipeline.sweeps.repository import DVC, PREFIX, Repository, RepositoryError, Run, last_lines
from pipeline.sweeps.workspace import own_workspace

POLL_S = 3.0
WORKER_START_S = 60.0
"""A worker that does not show itself in this time did not start."""
LOST_POLLS = 3
"""A task that runs without any worker this many polls long has lost it."""


@dataclass(frozen=True)
class Queue:
    """What `dvc queue status` says."""

    tasks: dict[str, str]
    """Queued, Running, Success or Failed, by the run's name; of several the last."""
    workers: int
    """That are alive."""


def run_queue(
    repository: Repository, runs: Sequence[Run], jobs: int, gpus: list[str]
) -> list[Outcome]:
    """Queue what is not there yet, start workers, wait for all of it.

    Args:
        repository: whose queue it is.
        runs: in their order.
        jobs: workers at most.
        gpus: that workers take in turn; none where empty.

    Raises:
        KeyboardInterrupt: Ctrl-C; the workers go on and the same command waits for them again.
    """
    there = repository.names()
    wanted = [run for run in runs if run.name not in there]
    outcomes = [Outcome(run, "was there") for run in runs if run.name in there]
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


def read_queue(repository: Repository) -> Queue:
    """Tasks and workers of DVC's queue.

    Args:
        repository: whose queue it is.

    Raises:
        RepositoryError: DVC does not say how many workers there are.
    """
    text = repository.dvc("queue", "status")
    tasks = {}
    for name, status in re.findall(
        rf"^\w+\s+({PREFIX}\w+)\s.*\b(Queued|Running|Success|Failed)\s*$", text, re.MULTILINE
    ):
        tasks[name] = status
    workers = re.search(r"(\d+) active, (\d+) idle", text)
    if workers is None:
        raise RepositoryError(
            f"dvc queue status: no number of workers in {last_lines(text, 1)!r}; expected "
            "'Worker status: N active, M idle'"
        )
    return Queue(tasks, int(workers[1]) + int(workers[2]))


def _enqueue(repository: Repository, runs: Sequence[Run]) -> None:
    """Queue the runs that neither wait nor run already; failed ones again."""
    tasks = read_queue(repository).tasks
    with own_workspace(repository):
        for number, run in enumerate(runs, start=1):
            status = tasks.get(run.name)
            where = f"{number}/{len(runs)} {run.name} {run.point.label}"
            if status in ("Queued", "Running"):
                console.print(f"{where}: {status.lower()} already")
                continue
            if status is not None:
                repository.dvc("queue", "remove", run.name)
            settings = [part for setting in run.point.settings for part in ("-S", setting)]
            repository.dvc("exp", "run", "--queue", "--name", run.name, *settings)
            console.print(f"{where}: queued")


def _start_workers(repository: Repository, number: int, gpus: list[str]) -> None:
    """Bring the workers to a number; one by one where each has a GPU of its own.

    `dvc queue start -j K` starts those of K that are not alive, with the environment that it has
    itself. So the Kth is started once the others show themselves.
    """
    for worker in range(number) if gpus else (number - 1,):
        environment = repository.environment | worker_environment(worker, gpus)
        done = subprocess.run(
            [*DVC, "queue", "start", "-j", str(worker + 1)],
            cwd=repository.root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RepositoryError(f"dvc queue start: {last_lines(done.stderr, 2)}")
        deadline = time.monotonic() + WORKER_START_S
        while worker + 1 < number and read_queue(repository).workers <= worker:
            if time.monotonic() > deadline:
                raise RepositoryError(
                    f"worker {worker + 1} of DVC's queue did not start in {WORKER_START_S:.0f} s; "
                    "`dvc queue status` and `dvc queue logs` say more, or leave out --queue"
                )


def _wait(
    repository: Repository, runs: Sequence[Run], jobs: int, gpus: list[str]
) -> list[Outcome]:
    """Poll until every run is an experiment, has failed or has lost its worker."""
    open_runs = {run.name: run for run in runs}
    outcomes: list[Outcome] = []
    alone = 0
    while open_runs:
        time.sleep(POLL_S)
        queue, there = read_queue(repository), repository.names()
        alone = 0 if queue.workers else alone + 1
        for name, run in list(open_runs.items()):
            status = queue.tasks.get(name)
            if name in there:
                outcome = Outcome(run, "done")
            elif status == "Failed":
                outcome = Outcome(run, "failed", _reason(repository, name))
            elif status != "Queued" and alone >= LOST_POLLS:
                outcome = Outcome(run, "failed", "its worker is gone; the same command queues it again")
                _forget(repository, name)
            else:
                continue
            outcomes.append(outcome)
            del open_runs[name]
            console.print(f"{name} {run.point.label}: {outcome.state} {outcome.reason}".rstrip())
        if alone >= LOST_POLLS and open_runs:
            _start_workers(repository, min(jobs, len(open_runs)), gpus)
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
