"""A zarr without an arm goes through the commands: trained, exported, loaded, served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline
from pipeline.dataset.zarr_arrays import StoreError
from pipeline.params import Params
from pipeline.policy.checkpoint import load_checkpoint
from pipeline.runtime.deployment import Deployment, DeploymentError
from pipeline.runtime.session import RobotPolicy
from pipeline.serving.client import PolicyClient
from pipeline.stages import evaluate, export, info, play, train
from pipeline.training.generic import NOTICE
from tests.fixtures.generic import generic_params, write_generic
from tests.fixtures.serving import served

REPOSITORY = Path(__file__).parents[1]
SEEN = {"points": np.array([100.0, 200.0, 300.0, 400.0]), "state[0:2]": np.array([0.1, -0.2])}
VECTOR = np.concatenate(list(SEEN.values()))


@pytest.fixture(scope="module")
def generic(params: Params) -> Params:
    return generic_params(params)


@pytest.fixture(scope="module")
def place(generic: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the zarr, a training on it and its export."""
    folder = tmp_path_factory.mktemp("generic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        train.run(generic, folder / "train", write_generic(folder / "x.zarr"))
        export.run(generic, folder / "export", folder / "train/best_model.pt")
    return folder


@pytest.fixture
def policy(place: Path) -> RobotPolicy:
    return pipeline.load_policy(place / "export", "onnxruntime")


def test_it_trains_without_the_arm_s_files(place: Path) -> None:
    checkpoint = load_checkpoint(place / "train/best_model.pt")
    assert checkpoint.geometry is None and checkpoint.config["collision"] is None
    assert checkpoint.params.actions == "absolute"
    assert (checkpoint.layout.state_dim, checkpoint.layout.action_dim) == (6, 3)
    scale = checkpoint.build().codec.scale
    assert torch.equal(scale.center, scale.center[:1].expand(16, 3)), "one range for all steps"
    stats = checkpoint.stats["action"]
    np.testing.assert_allclose((scale.center + scale.radius)[0], stats["max"], rtol=1e-6)


def test_the_training_says_what_is_off(
    generic: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    one = generic.override("train", num_epochs=1)
    train.run(one, tmp_path / "out", write_generic(tmp_path / "x.zarr"))
    text = " ".join(capsys.readouterr().out.split())
    assert NOTICE in text and "The policy then counts in steps" in text


def test_policy_onnx_computes_what_torch_computes_in_units_of_the_actions(
    generic: Params, place: Path, tmp_path: Path
) -> None:
    parity = json.loads((place / "export/export.json").read_text())["parity"]
    stats = load_checkpoint(place / "train/best_model.pt").stats["action"]
    half = max(np.subtract(stats["max"], stats["min"])) / 2
    assert parity["limit_rad"] == pytest.approx(generic.export.parity_rad * half)
    assert max(parity["max_abs_rad"].values()) <= parity["limit_rad"]


def test_the_exported_policy_acts_by_names_or_by_vector(policy: RobotPolicy) -> None:
    assert policy.deployment.execution.guard == "off"
    named = [policy.act(SEEN) for _ in range(9)]
    policy.reset()
    np.testing.assert_array_equal(named, [policy.act(VECTOR) for _ in range(9)])
    assert named[0].shape == (3,) and policy.report().clipped["velocity"] == 0
    policy.reset()
    np.testing.assert_allclose(
        policy.act(VECTOR), policy.predict(np.tile(VECTOR, (2, 1)))[0, 0], rtol=1e-6
    )
    with pytest.raises(DeploymentError, match=r"lacks state\[0:2\]"):
        policy.act({"points": SEEN["points"]})


def test_steps_have_no_duration_unless_the_data_say_so(place: Path) -> None:
    with pytest.raises(DeploymentError, match="without a rate"):
        pipeline.load_policy(place / "export", "onnxruntime", control_hz=20.0)


def test_a_robot_needs_no_torch_for_it(place: Path) -> None:
    code = (
        "import sys, numpy, pipeline; policy = pipeline.load_policy(sys.argv[1], 'onnxruntime');"
        "print(policy.act(numpy.zeros(6)).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(place / "export")],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "(3,) False"


def test_a_client_gets_what_a_direct_call_gives(policy: RobotPolicy) -> None:
    with served(policy) as url, PolicyClient(url) as client:
        assert client.rate_hz is None and client.layout == policy.layout
        direct = policy.session(seed=3)
        client.reset(seed=3)
        robot = client.closed_loop(seed=3)
        for _ in range(8):
            expected = direct.act(SEEN)
            np.testing.assert_array_equal(client.act(SEEN), expected)
            np.testing.assert_array_equal(robot.act(VECTOR), expected)


def test_a_checkpoint_runs_with_settings_of_the_caller(generic: Params, place: Path) -> None:
    deployment = Deployment.without_arm(generic.execution, 3)
    model = place / "train/final_model.pt"
    assert pipeline.load_policy(model, deployment=deployment).act(VECTOR).shape == (3,)


def test_info_shows_it_and_names_the_option(
    params: Params, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info.run(place / "x.zarr", params)
    text = capsys.readouterr().out
    assert "state[5]" in text and "absolute values" in text
    assert "--layout generic" in " ".join(text.replace("│", " ").split())
    info.run(place / "train/best_model.pt", params)
    assert "points[4] + state[0:2][2]" in capsys.readouterr().out


def test_commands_that_need_an_arm_say_so(generic: Params, params: Params, place: Path) -> None:
    model = place / "train/best_model.pt"
    with pytest.raises(evaluate.EvaluateError, match="no arm to roll out"):
        evaluate.run(generic, place / "evaluate", model, place / "x.zarr")
    pytest.importorskip("viser", reason="the extra `play` is not installed")
    with pytest.raises(play.PlayError, match="no arm to show"):
        play.run(params, str(place / "export"), None, place, None, "127.0.0.1", 0)


def test_an_arm_s_training_refuses_it_and_names_the_option(params: Params, place: Path) -> None:
    with pytest.raises(StoreError, match="--layout generic"):
        train.run(params, place / "arm", place / "x.zarr")
