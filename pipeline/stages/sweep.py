"""Sweep: the chain at many parameters, here, in parallel or on a cluster; then a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipeline.errors import PipelineError
from pipeline.experiments.dvc import Repository
from pipeline.experiments.gpus import find_gpus
from pipeline.experiments.loop import Outcome, run_grid
from pipeline.experiments.queue import run_queue
from pipeline.experiments.showing import show
from pipeline.experiments.slurm import ClusterOptions, run_cluster
from pipeline.run import console

Way = Literal["here", "queue", "cluster", "show", "dry"]


class SweepError(PipelineError):
    """A sweep was not asked for clearly, or did not end well."""


def run(
    settings: Sequence[str],
    out: Path,
    sort: str,
    least: bool = False,
    way: Way = "here",
    jobs: int = 1,
    gpus: str | None = None,
    cluster: ClusterOptions | None = None,
) -> None:
    """Run a grid and compare its runs.

    Args:
        settings: after -S: key=value or key=value,value; without any, what exists is compared.
        out: folder for comparison.png and comparison.csv.
        sort: metric that runs are compared by.
        least: the least of it is best.
        way: here (one after the other), queue (DVC's workers), cluster, show (runs nothing), or
            dry (names the runs, no more).
        jobs: runs at a time, for queue and cluster.
        gpus: GPUs that the queue's runs share out, such as 0,1; None finds them.
        cluster: what a job asks for.

    Raises:
        SettingError: a setting does not fit params.yaml; nothing has run.
        SweepError: nothing to run, or runs failed.
        PipelineError: Git, DVC or the cluster cannot do it.
    """
    repository = Repository(Path.cwd())
    if not settings and way != "show":
        raise SweepError(
            "nothing to run: name parameters and their values, for instance "
            "-S train.lr=1e-4,3e-4 -S policy.network=mlp,unet; --show compares what is there"
        )
    if way == "dry":
        there = repository.names()
        for item in repository.runs(settings):
            note = " (is there already)" if item.name in there else ""
            console.print(f"{item.name} {item.point.label}{note}")
        return
    outcomes: list[Outcome] = []
    if way == "here":
        outcomes = run_grid(repository, settings)
    elif way == "queue":
        outcomes = run_queue(repository, settings, jobs, find_gpus(gpus))
    elif way == "cluster":
        outcomes = run_cluster(repository, settings, jobs, cluster or ClusterOptions())
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    names = {outcome.run.name for outcome in outcomes}
    if way == "show" and settings:
        names = {item.name for item in repository.runs(settings)}
    if len(failed) < len(outcomes) or way == "show":
        show(repository, names, out, sort, least)
    if failed:
        reasons = "; ".join(f"{outcome.run.point.label}: {outcome.reason}" for outcome in failed)
        raise SweepError(
            f"{len(failed)} of {len(outcomes)} runs failed, the same command tries them again: "
            f"{reasons}"
        )


def only_way(chosen: Sequence[str]) -> Way:
    """The one way that was asked for.

    Args:
        chosen: ways; none is here.

    Raises:
        SweepError: several.
    """
    if len(chosen) > 1:
        raise SweepError(f"asked for {' and '.join(chosen)} at once; expected one of them")
    for way in ("queue", "cluster", "show", "dry"):
        if way in chosen:
            return way
    return "here"
