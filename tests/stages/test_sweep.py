"""The command: what it refuses before anything runs, and the ways to the rooms."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.stages.sweep import SweepError, only_way, run
from tests.command import refusal, run_pipeline


def test_a_dry_run_names_the_runs() -> None:
    done = run_pipeline(
        "sweep", "--dry", "-S", "train.lr=1e-4,3e-4", "-S", "policy.network=mlp,unet"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert len(lines) == len({line.split()[0] for line in lines}) == 4
    assert lines[1].endswith("train.lr=0.0001 policy.network=unet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to run"),
        (("-S", "train.lrr=1"), "did you mean train.lr"),
        (("-S", "train.lr=-1"), "greater than 0"),
        (("--queue", "--slurm", "-S", "train.lr=1"), "asked for queue and cluster at once"),
        (("--queue", "--gpus", "cuda:0", "-S", "train.lr=1"), "GPUs 'cuda:0'"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    assert words in refusal("sweep", *arguments)


def test_ways() -> None:
    assert only_way([]) == "here"
    assert only_way(["queue"]) == "queue"
    with pytest.raises(SweepError):
        only_way(["show", "dry"])
    with pytest.raises(SweepError, match="nothing to run"):
        run([], Path("artifacts/sweep"), "success_strict")
