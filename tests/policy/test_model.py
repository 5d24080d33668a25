from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.layout import Layout
from pipeline.obstacles import pad
from pipeline.params import Params
from pipeline.policy.features import FeatureError
from pipeline.policy.model import PolicyModel
from pipeline.policy.observation import with_obstacles
from tests.fixtures.policy import (
    SLOTS,
    make_fitted,
    random_obstacles,
    random_states,
    training_states,
)


@pytest.fixture
def batch(layout: Layout, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    obs = torch.from_numpy(random_states(rng, layout, 4, 2))
    return obs, obs[:, -1:, :6] + 0.1 * torch.randn(4, 16, 6)


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
@pytest.mark.parametrize(
    ("sampler", "prediction"),
    [("ddim", "sample"), ("ddim", "epsilon"), ("ddim", "velocity"), ("mip", "sample")],
)
@pytest.mark.parametrize("actions", ["relative", "absolute"])
def test_every_kind_of_policy_learns_and_samples(
    params: Params,
    layout: Layout,
    rng: np.random.Generator,
    batch: tuple[Tensor, Tensor],
    network: str,
    sampler: str,
    prediction: str,
    actions: str,
) -> None:
    chosen = params.override(
        "policy", network=network, sampler=sampler, prediction=prediction, actions=actions,
        num_inference_steps=2,
    )  # fmt: skip
    model = make_fitted(chosen, layout, rng).train()
    noise, steps = torch.randn(8, 16, 6), torch.randint(len(model.signal), (8,))
    loss = model.loss(*batch, noise, steps)
    loss.backward()
    assert torch.isfinite(loss)
    action = model(batch[0], torch.randn(4, 16, 6))
    assert action.shape == (4, 16, 6)
    assert torch.isfinite(action).all()


def test_draws_of_one_observation_are_samples_of_their_own(
    fitted: PolicyModel, batch: tuple[Tensor, Tensor]
) -> None:
    noise, steps = torch.randn(8, 16, 6), torch.randint(100, (8,))
    both = fitted.loss(*batch, noise, steps)
    halves = [fitted.loss(*batch, noise[i : i + 4], steps[i : i + 4]) for i in (0, 4)]
    torch.testing.assert_close(both, torch.stack(halves).mean())


def test_a_perfect_network_gives_the_training_chunk_back(
    params: Params, layout: Layout, rng: np.random.Generator, batch: tuple[Tensor, Tensor]
) -> None:
    model = make_fitted(params, layout, rng)
    obs, action = batch
    joints = model.current_joints(obs)
    offsets = model.codec.offset(action, joints)
    model.codec.fit(*offsets.aminmax(dim=0))
    clean = model.codec.encode(action, joints)
    model.network.denoise = lambda *_: clean  # type: ignore[method-assign]
    torch.testing.assert_close(model(obs, torch.randn(4, 16, 6)), action, atol=1e-5, rtol=1e-5)


def test_few_denoising_steps_start_at_the_noisiest_level(
    params: Params, layout: Layout, rng: np.random.Generator, batch: tuple[Tensor, Tensor]
) -> None:
    for number in (1, 2):
        model = make_fitted(params.override("policy", num_inference_steps=number), layout, rng)
        first = int(model.steps[0])
        assert float(model.signal[first]) < 1e-3, f"{number} steps start at level {first}"
        zeros, noise = torch.zeros(4, 16, 6), torch.randn(4, 16, 6)
        assert not torch.equal(model(batch[0], zeros), model(batch[0], noise))


def test_mip_is_two_passes_of_the_network_without_noise(
    params: Params, layout: Layout, rng: np.random.Generator, batch: tuple[Tensor, Tensor]
) -> None:
    chosen = params.override("policy", sampler="mip", num_inference_steps=2)
    model, obs = make_fitted(chosen, layout, rng), batch[0]
    condition = model.condition(obs)

    def network(chunk: Tensor, level: int) -> Tensor:
        answer: Tensor = model.network(chunk, torch.full((4,), level), condition)
        return answer.clamp(-1, 1)

    first = network(torch.zeros(4, 16, 6), 1)
    expected = model.codec.decode(network(0.9 * first, 0), model.current_joints(obs))
    torch.testing.assert_close(model(obs, torch.randn(4, 16, 6)), expected)


def test_sampling_is_the_same_for_the_same_noise_and_stays_in_the_training_range(
    fitted: PolicyModel, batch: tuple[Tensor, Tensor]
) -> None:
    obs, noise = batch[0], 10 * torch.randn(4, 16, 6)
    action = fitted(obs, noise)
    torch.testing.assert_close(action, fitted(obs, noise))
    offsets = fitted.codec.offset(action, fitted.current_joints(obs))
    scale = fitted.codec.scale
    assert ((offsets - scale.center).abs() <= scale.radius + 1e-5).all()


def test_ranges_cover_every_training_window(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    model = make_fitted(params, layout, rng, size=7)  # several batches must be joined
    states = training_states(np.random.default_rng(7), layout)
    rows = torch.arange(180)[:, None] + torch.arange(2)
    condition = model.condition(states[rows])
    assert condition.abs().max() == pytest.approx(1, abs=1e-4)
    assert condition.shape == (180, 2 * model.features.num_features)


def test_weights_and_ranges_travel_in_the_state_dictionary(
    params: Params, layout: Layout, fitted: PolicyModel, batch: tuple[Tensor, Tensor]
) -> None:
    other = PolicyModel(params.policy, layout, fitted.geometry)
    other.load_state_dict(fitted.state_dict())
    noise = torch.randn(4, 16, 6)
    torch.testing.assert_close(other(batch[0], noise), fitted(batch[0], noise))


def test_obstacles_change_the_first_weights_of_the_condition_and_nothing_else(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    """A policy without obstacles has the weights it had before there were any."""
    without, seeing = (
        {name: tensor.shape for name, tensor in make_fitted(params, layout, rng, slots=slots)
         .state_dict().items()}
        for slots in (0, SLOTS)
    )  # fmt: skip
    assert list(without)[:3] == ["scale.center", "scale.radius", "scale.inverse"]
    assert {name.partition(".")[0] for name in without} == {"scale", "codec", "network"}
    assert len(without) == 34
    assert list(seeing) == list(without)
    (changed,) = (name for name in without if seeing[name] != without[name])
    assert changed == "network.condition.0.weight"
    assert without[changed][1] == params.policy.n_obs_steps * 27


def test_a_policy_that_sees_obstacles_learns_and_samples(
    params: Params, layout: Layout, rng: np.random.Generator, batch: tuple[Tensor, Tensor]
) -> None:
    model = make_fitted(params, layout, rng, slots=SLOTS)
    around = np.stack([pad(random_obstacles(rng, number), SLOTS) for number in range(4)])
    obs = torch.from_numpy(with_obstacles(batch[0].numpy(), around))
    model.loss(obs, batch[1], torch.randn(8, 16, 6), torch.randint(100, (8,))).backward()
    weight = model.network.state_dict(keep_vars=True)["condition.0.weight"]
    assert bool(weight.grad[:, 2 * 27 :].any())
    action = model(obs, torch.zeros(4, 16, 6))
    assert action.shape == (4, 16, 6)
    # The first observation has no obstacle, the others have.
    nothing = torch.from_numpy(with_obstacles(batch[0].numpy(), around[[0] * 4]))
    differs = (action - model(nothing, torch.zeros(4, 16, 6))).abs().amax(dim=(1, 2))
    assert differs[0] == 0
    assert bool((differs[1:] > 1e-4).all())


def test_without_an_arm_actions_are_absolute(params: Params) -> None:
    layout = Layout.generic({"state": 5}, 3)
    with pytest.raises(FeatureError, match="must be absolute, not relative"):
        PolicyModel(params.policy, layout, None)
    model = PolicyModel(params.override("policy", actions="absolute").policy, layout, None)
    obs, action = 100 * torch.randn(40, 2, 5), 100 * torch.rand(40, 16, 3)
    model.fit([(obs.clone(), action)], lambda *batch: batch)
    assert model.current_joints(obs).shape == (40, 0)
    assert model.condition(obs).abs().max() <= 1 + 1e-6
    chunk = model(obs, torch.randn(40, 16, 3))
    low, high = action.amin(dim=(0, 1)), action.amax(dim=(0, 1))
    assert ((chunk >= low - 1e-3) & (chunk <= high + 1e-3)).all(), "clipped to the ranges"
