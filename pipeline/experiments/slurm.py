"""The cluster's way: a Slurm job a run through submitit, each in a clone of its own.

Clones share this repository's DVC cache and push what they made back into it as experiments.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import PipelineError
from pipeline.experiments.dvc import Repository, Run
from pipeline.experiments.loop import Outcome, left_over
from pipeline.experiments.workspace import own_workspace
from pipeline.repository import DVC, last_lines
from pipeline.run import console, write_json

POLL_S = 2.0


class ClusterError(PipelineError):
    """Jobs cannot be submitted."""


@dataclass(frozen=True)
class ClusterOptions:
    """What every job asks for."""

    executor: Literal["slurm", "local"] = "slurm"
    """local runs the jobs as processes of this machine: the same code without a cluster."""
    partition: str | None = None
    gpus: int = 0
    cpus: int = 4
    memory_gb: float = 16.0
    hours: float = 4.0


@dataclass(frozen=True)
class ExperimentJob:
    """One run as a job: it can be pickled, and requeued after a time limit or a preemption."""

    run: Run
    origin: Path
    """The repository to clone, on a file system that nodes share."""
    commit: str
    cache: Path
    """DVC's cache, shared by all clones."""
    clone: Path
    """Kept while the job is not done: a training that was cut off goes on from its state there."""

    def __call__(self) -> str:
        """Clone, run, push back.

        Returns:
            The experiment's name.

        Raises:
            ClusterError: a command fails; the message ends with what it said.
        """
        clone = Repository(self.clone)
        if not (self.clone / ".git").exists():
            self.clone.parent.mkdir(parents=True, exist_ok=True)
            command = ["git", "clone", "--quiet", "--no-checkout", str(self.origin)]
            subprocess.run([*command, str(self.clone)], check=True, stdin=subprocess.DEVNULL)
        clone.git("checkout", "--quiet", "--force", self.commit)
        clone.dvc("cache", "dir", "--local", str(self.cache))
        for key in ("user.name", "user.email"):
            clone.git("config", key, Repository(self.origin).git("config", key).strip())
        done = subprocess.run(
            [*DVC, "exp", "run", *self.run.command],
            cwd=self.clone, env=clone.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        said = done.stdout.decode(errors="replace")
        print(said, flush=True)
        if done.returncode or self.run.name not in clone.names():
            raise ClusterError(last_lines(said, 2) or f"exit status {done.returncode}")
        # The results are in the shared cache; the experiment is a Git reference.
        clone.dvc("exp", "push", "--no-cache", "origin", self.run.name)
        shutil.rmtree(self.clone)
        return self.run.name

    def checkpoint(self) -> Any:
        """What submitit submits anew when Slurm ends the job early: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run_cluster(
    repository: Repository, settings: Sequence[str], jobs: int, options: ClusterOptions
) -> list[Outcome]:
    """Submit what is neither there nor submitted, and wait for all of it.

    Args:
        repository: that jobs clone: it must lie where they can read and write it.
        settings: after -S, see `grid`.
        jobs: at a time at most.
        options: what each asks for.

    Raises:
        SettingError: a setting does not fit params.yaml; nothing has run.
        ClusterError: submitit or Slurm is missing, or something is not committed.
        KeyboardInterrupt: Ctrl-C; jobs go on and the same command waits for them again.
    """
    with own_workspace(repository):  # a killed sweep's changes are taken back
        _require_clean(repository)
        runs = repository.runs(settings)
    outcomes, wanted = left_over(repository, runs)
    if not wanted:
        return outcomes
    executor = _executor(repository, jobs, options)
    try:
        for batch in _batches(wanted, jobs if options.executor == "local" else len(wanted)):
            waiting = _submit(repository, executor, batch, options)
            outcomes += _wait(repository, waiting)
    except KeyboardInterrupt:
        console.print("Jobs go on (`squeue`); the same command waits for them again")
        raise
    return outcomes


def _batches(runs: Sequence[Run], size: int) -> list[Sequence[Run]]:
    return [runs[start : start + size] for start in range(0, len(runs), size)]


def _require_clean(repository: Repository) -> None:
    changed = repository.git("status", "--porcelain", "--untracked-files=no").strip()
    if changed:
        raise ClusterError(
            f"jobs run on clones of the last commit and would miss what is not committed: "
            f"{', '.join(line.split(maxsplit=1)[1] for line in changed.splitlines())}; commit it, "
            "or `git checkout` it"
        )


def _executor(repository: Repository, jobs: int, options: ClusterOptions) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ClusterError(
            "submitit is not installed; pip install 'submitit', or .[cluster]"
        ) from error
    if options.executor == "slurm" and shutil.which("sbatch") is None:
        raise ClusterError(
            "sbatch is not on the PATH: this is no Slurm login node; --slurm-local runs the same "
            "jobs as processes of this machine"
        )
    folder = repository.state / "jobs"
    executor = submitit.AutoExecutor(folder=str(folder), cluster=options.executor)
    executor.update_parameters(
        name="sweep", timeout_min=max(int(options.hours * 60), 1), cpus_per_task=options.cpus,
        mem_gb=options.memory_gb,
    )  # fmt: skip
    if options.gpus:
        executor.update_parameters(gpus_per_node=options.gpus)
    if options.executor == "slurm":
        executor.update_parameters(slurm_array_parallelism=jobs)
        if options.partition:
            executor.update_parameters(slurm_partition=options.partition)
    return executor


def _submit(
    repository: Repository, executor: Any, runs: Sequence[Run], options: ClusterOptions
) -> dict[str, tuple[Run, Any]]:
    """Jobs by the run's name; those that an earlier command submitted are taken up again."""
    book = repository.state / "jobs" / "submitted.json"
    known: dict[str, str] = json.loads(book.read_text()) if book.exists() else {}
    waiting: dict[str, tuple[Run, Any]] = {}
    for run in runs:
        if options.executor == "slurm" and run.name in known:
            job = executor.job_class(folder=executor.folder, job_id=known[run.name])
            if not job.done():
                console.print(f"{run.name} {run.point.label}: job {job.job_id} already")
                waiting[run.name] = (run, job)
    cache = Path(repository.dvc("cache", "dir").strip())
    origin, commit = repository.root.resolve(), repository.head()
    new = [run for run in runs if run.name not in waiting]
    tasks = [
        ExperimentJob(
            run, origin, commit, origin / cache,
            origin / ".state" / "sweep" / "clones" / run.name,
        )
        for run in new
    ]  # fmt: skip
    for run, job in zip(new, executor.submit_array(tasks) if tasks else [], strict=True):
        known[run.name] = job.job_id
        waiting[run.name] = (run, job)
        console.print(f"{run.name} {run.point.label}: job {job.job_id}, {job.paths.stdout}")
    write_json(book, known)
    return waiting


def _wait(repository: Repository, waiting: dict[str, tuple[Run, Any]]) -> list[Outcome]:
    outcomes = []
    left = dict(waiting)
    while left:
        time.sleep(POLL_S)
        for name, (run, job) in list(left.items()):
            if not job.done():
                continue
            error = job.exception()
            if error is None and name in repository.names():
                outcome = Outcome(run, "done")
            else:
                reason = last_lines(str(error), 2) if error else "nothing was pushed back"
                outcome = Outcome(run, "failed", reason)
            outcomes.append(outcome)
            del left[name]
            console.print(str(outcome))
    return outcomes
