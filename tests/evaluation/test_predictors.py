"""Tests that the exported graph gives torch's rollouts, and that missing backends give a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.evaluation.judge import judge
from pipeline.evaluation.predictors import (
    Predictor,
    PredictorError,
    compare_backends,
    load_predictors,
)
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.kinematics import Geometry
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.policy.checkpoint import Checkpoint, make_config, save_checkpoint
from pipeline.policy.model import PolicyModel
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import RobotModel
from pipeline.runtime.backends.driver_process import find_gpus


@pytest.fixture(scope="module")
def small(params: Params) -> Params:
    chosen = params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)
    return chosen.override("export", batch=(1, 1, 2))


@pytest.fixture(scope="module")
def policy(small: Params, tmp_path_factory: pytest.TempPathFactory) -> DiffusionPolicy:
    layout = Layout.from_params(small)
    geometry = Geometry(kinematic_chain(RobotModel.from_params(small.robot)), 0.06)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = PolicyModel(small.policy, layout, geometry).state_dict()
    config = make_config(small.policy, layout, geometry, 30.0)
    path = tmp_path_factory.mktemp("model") / "best_model.pt"
    save_checkpoint(path, Checkpoint(weights, weights, config, {}, layout, torch.zeros(1, 2, 25)))
    return DiffusionPolicy.from_checkpoint(path, device="cpu")


@pytest.mark.skipif(bool(find_gpus()[0]), reason="this machine has a GPU")
def test_every_backend_rolls_out_the_same_trials_or_gives_a_reason(
    small: Params, policy: DiffusionPolicy, loop: Loop, trials: Trials
) -> None:
    names = ("torch", "onnxruntime", "tensorrt-rtx")
    first, predictors = load_predictors(policy, names, small)
    checker = CollisionChecker(small.robot, small.task)

    def run(predict: object) -> object:
        rollouts = loop.run(predict, trials, 10, seed=1)  # type: ignore[arg-type]
        return judge(rollouts, trials, checker, small.task)

    found = compare_backends(predictors, run(first), run)  # type: ignore[arg-type]
    assert found["torch"]["max_joint_difference_rad"] == 0.0
    assert found["onnxruntime"]["n"] == len(trials)
    assert 0 < found["onnxruntime"]["max_joint_difference_rad"] < 1e-3
    assert found["tensorrt-rtx"] == {"status": "not here", "reason": "no NVIDIA driver"}
    with pytest.raises(PredictorError, match="tensorrt-rtx, which does not run here: no NVIDIA"):
        load_predictors(policy, ["tensorrt-rtx"], small)


def test_torch_alone_exports_nothing(
    small: Params, policy: DiffusionPolicy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipeline.evaluation.predictors.export_onnx", None)
    _, (predictor,) = load_predictors(policy, ["torch"], small)
    assert isinstance(predictor, Predictor)
    assert predictor.name == "torch"
