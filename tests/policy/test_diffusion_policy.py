from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.layout import Layout, LayoutError
from pipeline.obstacles import ObstacleError, pad
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy, diffusion_policy
from pipeline.policy.checkpoint import Checkpoint, save_checkpoint
from pipeline.policy.diffusion_policy import PolicyError, choose_device
from pipeline.policy.observation import ObservationError, with_obstacles
from tests.fixtures.policy import SLOTS, make_checkpoint, random_obstacles, random_states


@pytest.fixture
def path(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best_model.pt", checkpoint)
    return tmp_path / "best_model.pt"


def test_the_guide_s_own_lines_run(path: Path) -> None:
    policy = DiffusionPolicy(state_dim=25, action_dim=6, horizon=16, n_obs_steps=2, device="cuda")
    policy.load(str(path))
    obs = torch.randn(2, 25).to(policy.device)
    actions = policy.predict(obs)
    assert actions.shape == (1, 16, 6)
    assert actions.dtype == torch.float32


def test_numpy_and_torch_batches_give_the_same_for_the_same_noise(
    path: Path, checkpoint: Checkpoint
) -> None:
    policy = DiffusionPolicy.from_checkpoint(path, device="cpu")
    noise = torch.randn(5, 16, 6)
    from_torch = policy.predict(checkpoint.examples, noise=noise)
    from_numpy = policy.predict(checkpoint.examples.numpy(), noise=noise.numpy())
    torch.testing.assert_close(from_torch, from_numpy)
    one = policy.predict(checkpoint.examples[2], noise=noise[2:3])
    torch.testing.assert_close(one, from_torch[2:3], atol=1e-5, rtol=1e-5)


def test_a_generator_makes_predictions_repeatable(path: Path, checkpoint: Checkpoint) -> None:
    policy = DiffusionPolicy.from_checkpoint(path, device="cpu")
    first, again, other = (
        policy.predict(checkpoint.examples, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)


def test_other_dimensions_are_refused_by_name(path: Path) -> None:
    with pytest.raises(PolicyError, match=r"horizon=16.*horizon=8"):
        DiffusionPolicy(horizon=8, device="cpu").load(path)


def test_another_layout_is_refused(path: Path, layout: Layout) -> None:
    other = Layout.build(layout.joints, "cup", tuple(field.kind for field in layout.state))
    policy = DiffusionPolicy(device="cpu")
    policy.load(path, layout)
    with pytest.raises(LayoutError, match="cup"):
        policy.load(path, other)


def test_predicting_before_loading_says_what_to_do() -> None:
    with pytest.raises(PolicyError, match="load"):
        DiffusionPolicy(device="cpu").predict(np.zeros((2, 25)))


def test_wrong_shapes_and_nan_are_refused(path: Path) -> None:
    policy = DiffusionPolicy.from_checkpoint(path, device="cpu")
    with pytest.raises(ObservationError, match="shape"):
        policy.predict(np.zeros((3, 25)))
    with pytest.raises(ObservationError, match="finite"):
        policy.predict(np.full((2, 25), np.nan))
    with pytest.raises(ObservationError, match="noise"):
        policy.predict(torch.randn(2, 25), noise=torch.zeros(16, 6))


def test_tensors_on_a_gpu_do_not_pass_through_the_host(
    path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = DiffusionPolicy.from_checkpoint(path, device="cpu")
    obs, noise = checkpoint.examples, torch.randn(len(checkpoint.examples), 16, 6)
    expected = policy.predict(obs, noise)
    one = policy.predict(obs[0], noise[:1])
    through_host: list[object] = []
    to_host = diffusion_policy._numpy
    # The CPU's tensors stand for a GPU's.
    monkeypatch.setattr(diffusion_policy, "_on_gpu", lambda value: True)
    monkeypatch.setattr(
        diffusion_policy, "_numpy", lambda value: (through_host.append(value), to_host(value))[1]
    )
    assert torch.equal(policy.predict(obs, noise), expected)
    assert torch.equal(policy.predict(obs[0], noise[:1]), one)
    assert through_host == []
    # What is wrong goes there, and gets the same words.
    flat = obs.clone()
    flat[..., checkpoint.layout.field("ee_pose").slice] = 0
    for wrong, words in (
        (obs[:, :1], "shape"), (obs.clone().fill_(torch.nan), "finite"), (flat, "length 0"),
    ):  # fmt: skip
        with pytest.raises(ObservationError, match=words):
            policy.predict(wrong, noise)
    with pytest.raises(ObservationError, match="noise"):
        policy.predict(obs, noise[:, :3])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_device("cuda").type == "cpu"
    assert "no GPU" in caplog.text
    assert choose_device("auto").type == "cpu"


def test_the_room_opens_without_torch() -> None:
    code = (
        "import sys; import pipeline.policy, pipeline.runtime.backends.onnx_runtime; "
        "print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import pipeline.policy

    with pytest.raises(AttributeError, match="Policies"):
        _ = pipeline.policy.Policies


def test_obstacles_may_stand_beside_the_observations_or_in_them(
    params: Params, layout: Layout, tmp_path: Path, rng: np.random.Generator
) -> None:
    save_checkpoint(tmp_path / "best_model.pt", make_checkpoint(params, layout, SLOTS))
    # The state keeps its numbers, so the team's own lines load such a policy too.
    policy = DiffusionPolicy(state_dim=25, action_dim=6, horizon=16, n_obs_steps=2, device="cpu")
    policy.load(tmp_path / "best_model.pt")
    states, rows = random_states(rng, layout, 3, 2), random_obstacles(rng, 2)
    noise = np.zeros((3, 16, 6), np.float32)
    beside = policy.predict(states, noise, obstacles=rows)
    within = policy.predict(with_obstacles(states, np.stack([pad(rows, SLOTS)] * 3)), noise)
    torch.testing.assert_close(beside, within, rtol=0, atol=0)
    assert not torch.equal(beside, policy.predict(states, noise))
    with pytest.raises(ObstacleError, match=f"5 obstacles; expected {SLOTS} at most"):
        policy.predict(states, noise, obstacles=random_obstacles(rng, 5))
