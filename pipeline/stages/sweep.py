"""Command sweep: run the chain with many parameters, here, in parallel or on a cluster; compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipeline.errors import PipelineError
from pipeline.experiments.comparison import report
from pipeline.experiments.dvc import Outcome, Repository
from pipeline.experiments.gpus import find_gpus
from pipeline.experiments.queue import run_queue
from pipeline.experiments.sequential import run_sequentially
from pipeline.experiments.slurm import ClusterOptions, run_cluster
from pipeline.run import console

Mode = Literal["sequential", "queue", "cluster", "show", "dry"]


class SweepError(PipelineError):
    """The options of a sweep are incomplete or contradictory, or runs failed."""


def run(
    settings: Sequence[str],
    out: Path,
    sort: str,
    minimize: bool = False,
    mode: Mode = "sequential",
    jobs: int = 1,
    gpus: str | None = None,
    cluster: ClusterOptions | None = None,
) -> None:
    """Run a grid and compare its runs.

    Args:
        settings: values of -S: key=value or key=value,value. Only show needs none.
        out: folder for comparison.png and comparison.csv.
        sort: metric to sort by.
        minimize: whether smaller values of the metric are better.
        mode: sequential, queue (DVC's workers), cluster, show (only compares existing runs), or dry
            (only names the runs).
        jobs: runs at a time, for queue and cluster.
        gpus: GPUs that the runs of the queue divide, such as 0,1; None takes all.
        cluster: resources of a job.

    Raises:
        SettingError: a setting does not match params.yaml; nothing has run.
        SweepError: there is nothing to run, or runs failed.
        PipelineError: Git, DVC or the cluster fails.
    """
    repository = Repository(Path.cwd())
    if not settings and mode != "show":
        raise SweepError(
            "nothing to run: name parameters and their values, for instance "
            "-S train.lr=1e-4,3e-4 -S policy.network=mlp,unet; --show compares existing runs"
        )
    if mode == "dry":
        existing = repository.names()
        for item in repository.runs(settings):
            console.print(f"{item}{' (exists already)' if item.name in existing else ''}")
        return
    outcomes: list[Outcome] = []
    if mode == "sequential":
        outcomes = run_sequentially(repository, settings)
    elif mode == "queue":
        outcomes = run_queue(repository, settings, jobs, find_gpus(gpus))
    elif mode == "cluster":
        outcomes = run_cluster(repository, settings, jobs, cluster or ClusterOptions())
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    names = {outcome.run.name for outcome in outcomes}
    if mode == "show" and settings:
        names = {item.name for item in repository.runs(settings)}
    if len(failed) < len(outcomes) or mode == "show":
        report(repository, names, out, sort, minimize)
    if failed:
        reasons = "; ".join(f"{outcome.run.point.label}: {outcome.reason}" for outcome in failed)
        raise SweepError(
            f"{len(failed)} of {len(outcomes)} runs failed, the same command tries them again: "
            f"{reasons}"
        )


def choose_mode(chosen: Sequence[Mode]) -> Mode:
    """Return the only chosen mode.

    Args:
        chosen: modes whose options were given; empty means sequential.

    Raises:
        SweepError: several were given.
    """
    if len(chosen) > 1:
        raise SweepError(f"options for {' and '.join(chosen)} were given, expected one of them")
    return chosen[0] if chosen else "sequential"
