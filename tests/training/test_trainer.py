from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.model import PolicyModel
from pipeline.training.batches.windows import Windows
from pipeline.training.distributed import Workers
from pipeline.training.trainer import (
    Trainer,
    Validation,
    averaging_rate,
    learning_rate,
    seeded_generators,
)
from tests.fixtures.policy import make_fitted, make_limits, random_states


def make_windows(layout: Layout, rng: np.random.Generator) -> Windows:
    states = torch.from_numpy(random_states(rng, layout, 60))
    rows = torch.arange(40)[:, None]
    return Windows(states, states[:, :6] + 0.1, rows + torch.arange(2), rows + torch.arange(16))


def test_a_batch_is_the_rows_of_its_windows(layout: Layout, rng: np.random.Generator) -> None:
    windows = make_windows(layout, rng)
    obs, action = windows.batch(torch.tensor([7, 3]))
    assert len(windows) == 40
    torch.testing.assert_close(obs[1], windows.state[3:5])
    torch.testing.assert_close(action[0], windows.action[7:23])


def test_an_order_is_every_window_once_and_follows_from_the_generator(
    layout: Layout, rng: np.random.Generator
) -> None:
    windows = make_windows(layout, rng)
    first, again, other = (windows.order(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert sorted(first.tolist()) == list(range(40))
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)


@given(num_steps=st.integers(1, 2000), warmup=st.integers(0, 500))
def test_the_learning_rate_rises_then_falls_and_is_never_negative(
    params: Params, num_steps: int, warmup: int
) -> None:
    train = params.override("train", warmup_steps=warmup, lr=1e-3).train
    rates = np.array([learning_rate(step, num_steps, train) for step in range(num_steps)])
    assert rates.min() >= 0
    assert rates.max() <= 1e-3
    top = min(warmup, num_steps)
    assert np.all(np.diff(rates[:top]) > 0)
    assert np.all(np.diff(rates[top:]) <= 0)


def test_the_averaging_rate_starts_low_and_ends_at_its_bound() -> None:
    assert averaging_rate(0, 0.999) == 0.1
    assert averaging_rate(10**6, 0.999) == 0.999


def test_generators_of_one_seed_are_independent_and_repeatable() -> None:
    device = torch.device("cpu")
    first, again = seeded_generators(5, device), seeded_generators(5, device)
    draws = [torch.rand(8, generator=generator) for generator in first]
    for draw, generator in zip(draws, again, strict=True):
        torch.testing.assert_close(draw, torch.rand(8, generator=generator))
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])


def test_a_step_moves_the_weights_and_the_average_follows(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    model = make_fitted(params, layout, rng).train()
    before = [weight.detach().clone() for weight in model.parameters()]
    train = params.override("train", warmup_steps=0).train
    trainer = Trainer(model, train, 100, torch.Generator().manual_seed(0), make_limits(params))
    loss = trainer.step(0, trainer.prepare(*make_windows(layout, rng).batch(torch.arange(8))))
    assert not loss.requires_grad
    assert trainer.gradient_norm() > 0
    for old, new, mean in zip(before, model.parameters(), trainer.ema.parameters(), strict=True):
        assert not torch.equal(old, new)
        torch.testing.assert_close(mean, 0.1 * old + 0.9 * new.detach())


def test_the_loss_falls(params: Params, layout: Layout, rng: np.random.Generator) -> None:
    model = make_fitted(params, layout, rng).train()
    train = params.override("train", warmup_steps=10, lr=3e-3).train
    trainer = Trainer(model, train, 150, torch.Generator().manual_seed(0), make_limits(params))
    batch = make_windows(layout, rng).batch(torch.arange(8))
    losses = [float(trainer.step(step, trainer.prepare(*batch))) for step in range(150)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])


def test_prepared_windows_give_the_model_s_own_loss(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    model = make_fitted(params, layout, rng).train()
    train = params.override("train", noise_probability=0.0, noise_velocity_rad_s=0.0).train
    trainer = Trainer(model, train, 100, torch.Generator().manual_seed(0), make_limits(params))
    obs, action = make_windows(layout, rng).batch(torch.arange(8))
    block = trainer.prepare(obs, action)
    assert len(block) == 8 and block.noise.shape == (train.noise_draws, *action.shape)
    part = block.part(slice(2, 6))
    rows = (part.noise.flatten(0, 1), part.steps.flatten())
    expected = model.loss(obs[2:6], action[2:6], *rows)
    assert float(trainer.step(0, part)) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_trainer_goes_on_from_its_state_bit_by_bit(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    windows, train = make_windows(layout, rng), params.override("train", warmup_steps=2).train
    trainers = [
        Trainer(
            make_fitted(params, layout, rng).train(),
            train,
            20,
            torch.Generator(),
            make_limits(params),
        )
        for _ in range(2)
    ]
    batch = windows.batch(torch.arange(8))
    for step in range(5):
        trainers[0].step(step, trainers[0].prepare(*(part.clone() for part in batch)))
    trainers[1].load_state_dict(copy.deepcopy(trainers[0].state_dict()))
    for trainer in trainers:
        for step in range(5, 9):
            trainer.step(step, trainer.prepare(*(part.clone() for part in batch)))
    first, second = (trainer.state_dict() for trainer in trainers)
    for part in ("model", "ema"):
        torch.testing.assert_close(dict(first[part]), dict(second[part]), rtol=0, atol=0)
    assert torch.equal(first["generator"], second["generator"])
    assert trainers[0].is_finite()
    next(trainers[0].ema.parameters()).fill_(torch.nan)
    assert not trainers[0].is_finite()


def test_parts_of_a_batch_have_together_the_gradient_of_the_whole(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    obs, action = make_windows(layout, rng).batch(torch.arange(7))
    train = params.override("train", noise_draws=2).train

    def gradient(rank: int, size: int) -> tuple[Tensor, list[Tensor]]:
        model = make_fitted(params, layout, np.random.default_rng(1)).train()
        generator = torch.Generator().manual_seed(3)
        trainer = Trainer(model, train, 10, generator, make_limits(params), Part(rank, size))
        loss = trainer._gradient(trainer.prepare(obs.clone(), action))
        return loss.detach(), [w.grad for w in model.parameters() if w.grad is not None]

    whole_loss, whole = gradient(0, 1)
    for size in (2, 9):  # nine workers for seven windows: two have nothing to do
        parts = [gradient(rank, size) for rank in range(size)]
        total = torch.stack([loss for loss, _ in parts]).sum()
        torch.testing.assert_close(total, whole_loss)
        for index, expected in enumerate(whole):
            together = torch.stack([gradients[index] for _, gradients in parts]).sum(dim=0)
            torch.testing.assert_close(together, expected, rtol=1e-3, atol=1e-6)


class Part(Workers):
    """One of several, whose sum is left to the test."""

    def sum_gradients(self, weights: Sequence[Tensor], loss: Tensor) -> Tensor:
        return loss


def test_validation_is_the_same_each_time_and_does_not_depend_on_its_batches(
    fitted: PolicyModel,
    layout: Layout,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    validation = Validation(make_windows(layout, rng), fitted, torch.Generator().manual_seed(0))
    loss = validation.loss(fitted)
    assert validation.loss(fitted) == loss
    monkeypatch.setattr("pipeline.training.trainer.VALIDATION_BATCH", 7)
    assert validation.loss(fitted) == pytest.approx(loss, rel=1e-5)
