"""What is computed before the robot moves, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.export.graph import export_onnx
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime import load
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.warm_up import warm_up
from tests.fixtures.policy import SLOTS, make_checkpoint


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Observations of each call of ONNX Runtime from now on."""
    sizes: list[int] = []
    predict = OnnxRuntimePolicy.predict

    def counted(self: OnnxRuntimePolicy, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        sizes.append(len(obs))
        return predict(self, obs, noise)

    monkeypatch.setattr(OnnxRuntimePolicy, "predict", counted)
    return sizes


def test_chunks_of_every_size_are_computed_also_where_obstacles_are_seen(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: object
) -> None:
    checkpoint = make_checkpoint(params, layout, SLOTS)  # type: ignore[arg-type]
    export_onnx(checkpoint, tmp_path / "policy.onnx", 18, {})
    sizes = count_calls(monkeypatch)
    warm_up(OnnxRuntimePolicy(tmp_path / "policy.onnx"), (1, 16))
    assert sizes == [1, 16]


def test_a_loaded_policy_is_warm_and_acts_as_a_cold_one(
    exported: tuple[Checkpoint, Path], params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = RobotModel.from_params(params.robot).limits
    deployment = Deployment.from_params(params.execution, limits)
    sizes = count_calls(monkeypatch)
    seen = {"joint_pos": np.zeros(6), "object_pos": np.full(3, 0.3), "object_axis": np.eye(3)[2]}
    commands = []
    for prepare, first in ((True, [1]), (False, [])):
        policy = load.load_policy(
            exported[1], "onnxruntime", deployment=deployment, prepare=prepare
        )
        assert sizes == first
        policy.reset()
        commands.append([policy.act(seen) for _ in range(3)])
        sizes.clear()
    np.testing.assert_array_equal(*commands)


def test_what_compiles_or_captures_shapes_is_warmed_for_the_guard_too(params: Params) -> None:
    limits = RobotModel.from_params(params.robot).limits
    repairing, checking = (
        Deployment.from_params(params.override("execution", guard=guard).execution, limits)
        for guard in ("repair", "check")
    )
    assert load._sizes("tensorrt-rtx", repairing) == {1, params.execution.guard_samples}
    assert load._sizes("torch-graphs", checking) == {1}
    assert load._sizes("onnxruntime", repairing) == {1}
