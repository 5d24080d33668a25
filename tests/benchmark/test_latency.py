"""Children are really started and really timed, on a network of a few thousand weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.benchmark.latency import (
    BLOCK,
    Subject,
    Timing,
    TimingError,
    blocks,
    time_backends,
    time_batches,
)
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment


@pytest.fixture(scope="module")
def deployment(params: Params) -> str:
    limits = RobotModel.from_params(params.robot).limits
    return Deployment.from_params(params.execution, limits).to_json()


def test_backends_are_timed_and_absent_ones_say_why(
    exported: tuple[Checkpoint, Path], deployment: str
) -> None:
    subjects = {
        "graph": Subject("onnxruntime", exported[1], deployment),
        "eager": Subject("torch", exported[1], deployment),
    }
    found = time_backends(subjects, calls=60, threads=1, batch=2)
    row = found["graph"].summary()
    assert row["calls"] == 60
    assert 0 < row["median_ms"] <= row["p99_ms"] <= row["max_ms"]
    assert row["load_s"] > 0
    assert 20 < row["peak_rss_mb"] < 2000
    assert found["eager"].summary()["status"] == "not here"
    assert "needs a checkpoint" in found["eager"].summary()["reason"]


def test_a_child_that_ends_is_named(exported: tuple[Checkpoint, Path], deployment: str) -> None:
    broken = {"graph": Subject("onnxruntime", exported[1], "no json")}
    found = time_backends(broken, calls=1, threads=1)
    assert "metadata `deployment` is broken" in str(found["graph"].reason)
    with pytest.raises(TimingError, match="ended with 1 and no answer"):
        time_backends(
            {"graph": Subject("onnxruntime", exported[1], deployment)},
            1,
            "many",  # type: ignore[arg-type]
        )


def test_batches_of_several_sizes_are_timed_in_one_child(
    exported: tuple[Checkpoint, Path], deployment: str
) -> None:
    found = time_batches(Subject("onnxruntime", exported[1], deployment), 5, 1, (1, 4))
    assert {batch: len(timing.ms) for batch, timing in found.items()} == {1: 5, 4: 5}
    assert found[1].first_ms != found[4].first_ms
    absent = time_batches(Subject("torch-graphs", exported[1], deployment), 5, 1, (1, 4))
    assert list(absent) == [1]
    assert "needs a checkpoint" in absent[1].summary()["reason"]


@given(st.integers(0, 1000))
def test_blocks_add_up(calls: int) -> None:
    sizes = list(blocks(calls))
    assert sum(sizes) == calls
    assert all(0 < size <= BLOCK for size in sizes)


def test_a_summary_is_of_all_calls() -> None:
    row = Timing(ms=[1.0, 2.0, 9.0]).summary()
    assert (row["median_ms"], row["max_ms"], row["calls"]) == (2.0, 9.0, 3)
    assert row["load_s"] is None
