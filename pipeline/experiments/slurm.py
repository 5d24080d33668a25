"""Runs of a sweep as Slurm jobs through submitit, each in a clone of its own.

The clones share the DVC cache of this repository and push their experiments back to it.
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
from pipeline.experiments.dvc import Outcome, Repository, Run
from pipeline.experiments.workspace import locked_workspace
from pipeline.repository import DVC, last_lines
from pipeline.run import console, write_json

POLL_S = 2.0


class ClusterError(PipelineError):
    """Jobs cannot be submitted."""


@dataclass(frozen=True)
class ClusterOptions:
    """Resources of each job."""

    executor: Literal["slurm", "local"] = "slurm"
    """local runs the jobs as processes of this machine, without a cluster."""
    partition: str | None = None
    gpus: int = 0
    cpus: int = 4
    memory_gb: float = 16.0
    hours: float = 4.0


@dataclass(frozen=True)
class ExperimentJob:
    """One run as a job. It can be pickled, and resubmitted after a time limit or a preemption."""

    run: Run
    origin: Path
    """The repository to clone, on a file system that all nodes share."""
    commit: str
    cache: Path
    """DVC's cache, shared by all clones."""
    clone: Path
    """Kept until the job is done, so that an interrupted training can continue there."""

    def __call__(self) -> None:
        """Clone the repository, run the experiment and push it back.

        Raises:
            ClusterError: the run fails; the message holds its last lines.
            RepositoryError: Git or DVC fails.
        """
        clone = Repository(self.clone)
        origin = Repository(self.origin)
        if not (self.clone / ".git").exists():
            self.clone.parent.mkdir(parents=True, exist_ok=True)
            origin.output(
                "git", "clone", "--quiet", "--no-checkout", str(self.origin), str(self.clone)
            )
        clone.output("git", "checkout", "--quiet", "--force", self.commit)
        clone.output("dvc", "cache", "dir", "--local", str(self.cache))
        for key in ("user.name", "user.email"):
            clone.output("git", "config", key, origin.output("git", "config", key).strip())
        done = subprocess.run(
            [*DVC, "exp", "run", *self.run.command],
            cwd=self.clone, env=clone.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        output = done.stdout.decode(errors="replace")
        print(output, flush=True)
        if done.returncode or self.run.name not in clone.names():
            raise ClusterError(last_lines(output, 2) or f"exit status {done.returncode}")
        # The results are in the shared cache; the experiment is a Git reference.
        clone.output("dvc", "exp", "push", "--no-cache", "origin", self.run.name)
        shutil.rmtree(self.clone)

    def checkpoint(self) -> Any:
        """Tell submitit to submit the same job again when Slurm ends it early."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run_cluster(
    repository: Repository, settings: Sequence[str], jobs: int, options: ClusterOptions
) -> list[Outcome]:
    """Submit the missing experiments of a grid as jobs and wait for all of them.

    Args:
        repository: that the jobs clone; they must be able to read and write it.
        settings: values of -S, see `grid`.
        jobs: largest number of jobs at a time.
        options: resources of each job.

    Raises:
        SettingError: a setting does not match params.yaml; nothing has run.
        ClusterError: submitit or Slurm is missing, or there are uncommitted changes.
        KeyboardInterrupt: Ctrl-C; the jobs go on, and the same command waits for them again.
    """
    with locked_workspace(repository):  # restores it after a killed sweep
        _require_clean(repository)
        runs = repository.runs(settings)
    outcomes, missing = repository.split_existing(runs)
    if not missing:
        return outcomes
    executor = _executor(repository, jobs, options)
    # Slurm limits the number of jobs itself, the local executor does not.
    size = jobs if options.executor == "local" else len(missing)
    try:
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            outcomes += _wait(repository, _submit(repository, executor, batch, options))
    except KeyboardInterrupt:
        console.print("The jobs go on (`squeue`). The same command waits for them again")
        raise
    return outcomes


def _require_clean(repository: Repository) -> None:
    changed = repository.output("git", "status", "--porcelain", "--untracked-files=no").strip()
    if changed:
        raise ClusterError(
            "jobs run in clones of the last commit, which lack uncommitted changes of "
            f"{', '.join(line.split(maxsplit=1)[1] for line in changed.splitlines())}; commit or "
            "discard them"
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
            "sbatch is not on the PATH, so this is not a Slurm login node; --slurm-local runs the "
            "same jobs as processes of this machine"
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
    """Submit runs that have no job yet.

    Returns:
        Runs and jobs by the name of the run, including jobs that an earlier command submitted.
    """
    from submitit import SlurmJob

    path = repository.state / "jobs" / "submitted.json"
    job_ids: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    waiting: dict[str, tuple[Run, Any]] = {}
    for run in runs:
        if options.executor == "slurm" and run.name in job_ids:
            job: Any = SlurmJob(folder=executor.folder, job_id=job_ids[run.name])
            if not job.done():
                console.print(f"{run}: already job {job.job_id}")
                waiting[run.name] = (run, job)
    cache = Path(repository.output("dvc", "cache", "dir").strip())
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
        job_ids[run.name] = job.job_id
        waiting[run.name] = (run, job)
        console.print(f"{run}: job {job.job_id}, {job.paths.stdout}")
    write_json(path, job_ids)
    return waiting


def _wait(repository: Repository, waiting: dict[str, tuple[Run, Any]]) -> list[Outcome]:
    outcomes = []
    while waiting:
        time.sleep(POLL_S)
        for name, (run, job) in list(waiting.items()):
            if not job.done():
                continue
            error = job.exception()
            if error is None and name in repository.names():
                outcome = Outcome(run, "done")
            else:
                # submitit prints the traceback, a line of dashes and the paths of the logs.
                trace = str(error).partition("You can check")[0].rstrip("- \n")
                reason = last_lines(trace, 1) if error else "the job pushed no experiment"
                outcome = Outcome(run, "failed", reason)
            outcomes.append(outcome)
            del waiting[name]
            console.print(str(outcome))
    return outcomes
