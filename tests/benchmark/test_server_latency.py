"""A real server and real clients on loopback; what they wait for is counted, not judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.benchmark.server_latency import Load, LoadTestError, direct_calls, under_load
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.load import load_policy
from pipeline.runtime.session import RobotPolicy

SEEN = {
    "joint_pos": np.zeros(6),
    "object_pos": np.full(3, 0.3),
    "object_axis": np.array([0.0, 0.0, 1.0]),
}


@pytest.fixture(scope="module")
def deployment(params: Params) -> Deployment:
    limits = RobotModel.from_params(params.robot).limits
    return Deployment.from_params(params.execution, limits)


@pytest.fixture(scope="module")
def policy(exported: tuple[Checkpoint, Path], deployment: Deployment) -> RobotPolicy:
    return load_policy(exported[1], "onnxruntime", deployment=deployment)


def message(observation: dict[str, np.ndarray]) -> dict[str, object]:
    return {"call": "act", "observation": {key: v.tolist() for key, v in observation.items()}}


def test_every_call_of_every_client_is_counted(
    exported: tuple[Checkpoint, Path], deployment: Deployment
) -> None:
    load = Load(message(SEEN), clients=3, calls=5, rate_hz=100.0)
    row = under_load(exported[1], deployment, load, workers=2).summary()
    assert (row["clients"], row["calls"], row["errors"]) == (3, 12, 0), "and 3 first ones"
    assert 0 < row["median_ms"] <= row["max_ms"] and row["first_ms"] > 0
    assert row["client_cpu_ms"] > 0


def test_a_refused_call_is_an_error(
    exported: tuple[Checkpoint, Path], deployment: Deployment
) -> None:
    load = Load(message({**SEEN, "joint_pos": np.zeros(5)}), clients=1, calls=2, rate_hz=100.0)
    assert under_load(exported[1], deployment, load).errors == 2


def test_direct_calls_are_timed(policy: RobotPolicy) -> None:
    assert min(direct_calls(policy, SEEN, 4)) > 0


def test_a_process_of_clients_that_fails_says_why(
    exported: tuple[Checkpoint, Path], deployment: Deployment
) -> None:
    with pytest.raises(LoadTestError, match="ZeroDivisionError"):
        under_load(exported[1], deployment, Load(message(SEEN), clients=1, calls=1, rate_hz=0.0))
