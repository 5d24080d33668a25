from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policy.diffusion import (
    SamplerTable,
    cosine_alphas_cumprod,
    inference_steps,
    shuffles,
)

THEIR_NAMES = {"sample": "sample", "epsilon": "epsilon", "velocity": "v_prediction"}


def ddim(num_train: int, num_inference: int, prediction: str) -> DDIMScheduler:
    scheduler = DDIMScheduler(
        num_train_timesteps=num_train,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=True,
        clip_sample_range=1.0,
        prediction_type=THEIR_NAMES[prediction],
    )
    scheduler.set_timesteps(num_inference)
    return scheduler


@pytest.mark.parametrize("num_steps", [10, 100, 1000])
def test_the_schedule_is_that_of_diffusers(num_steps: int) -> None:
    theirs = DDPMScheduler(num_train_timesteps=num_steps, beta_schedule="squaredcos_cap_v2")
    np.testing.assert_allclose(
        cosine_alphas_cumprod(num_steps), theirs.alphas_cumprod.numpy(), rtol=1e-4, atol=1e-9
    )


def test_noise_is_added_as_diffusers_adds_it() -> None:
    theirs = DDPMScheduler(num_train_timesteps=100, beta_schedule="squaredcos_cap_v2")
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(100, 16, 6, generator=generator) for _ in range(2))
    alphas = torch.from_numpy(cosine_alphas_cumprod(100)).float()[:, None, None]
    ours = alphas.sqrt() * clean + (1 - alphas).sqrt() * noise
    torch.testing.assert_close(
        ours, theirs.add_noise(clean, noise, torch.arange(100)), rtol=1e-5, atol=2e-6
    )


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "velocity"])
@pytest.mark.parametrize("num_inference", [1, 2, 7, 10, 16, 100])
def test_every_ddim_step_is_that_of_diffusers(prediction: str, num_inference: int) -> None:
    theirs = ddim(100, num_inference, prediction)
    table = SamplerTable.build("ddim", 100, num_inference, prediction)
    assert table.steps.tolist() == theirs.timesteps.tolist()
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(4, 16, 6, generator=generator, dtype=torch.float64)
    for row, step in enumerate(theirs.timesteps):
        output = torch.randn(4, 16, 6, generator=generator, dtype=torch.float64)
        expected = theirs.step(output, step, noisy, use_clipped_model_output=True).prev_sample
        clean = table.from_output[row] * output + table.from_noisy[row] * noisy
        ours = table.keep[row] * noisy + table.blend[row] * clean.clamp(-1, 1)
        # diffusers keeps its schedule in float32: near pure noise 1/sqrt(alpha) magnifies that.
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
        noisy = expected


@given(num_train=st.integers(2, 1000), data=st.data())
def test_steps_fall_to_zero_and_the_last_one_returns_the_clean_sample(
    num_train: int, data: st.DataObject
) -> None:
    num_inference = data.draw(st.integers(1, num_train))
    steps = inference_steps(num_train, num_inference)
    assert len(steps) == num_inference
    assert steps[-1] == 0
    assert np.all(np.diff(steps) < 0)
    assert steps[0] < num_train
    table = SamplerTable.build("ddim", num_train, num_inference, "sample")
    assert table.keep[-1] == 0
    assert table.blend[-1] == 1
    assert np.isfinite(table.rows()).all()


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "velocity"])
@pytest.mark.parametrize("num_inference", [1, 2, 7, 10, 100])
def test_every_ddpm_step_is_that_of_diffusers(
    prediction: str, num_inference: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = DDPMScheduler(
        num_train_timesteps=100,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=True,
        prediction_type=THEIR_NAMES[prediction],
    )
    theirs.set_timesteps(num_inference)
    table = SamplerTable.build("ddpm", 100, num_inference, prediction)
    assert table.steps.tolist() == theirs.timesteps.tolist()
    generator = torch.Generator().manual_seed(1)
    noisy, fresh = (torch.randn(4, 16, 6, generator=generator).double() for _ in range(2))
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: fresh)
    for row, step in enumerate(theirs.timesteps):
        output = torch.randn(4, 16, 6, generator=generator, dtype=torch.float64)
        expected = theirs.step(output, step, noisy).prev_sample
        clean = (table.from_output[row] * output + table.from_noisy[row] * noisy).clamp(-1, 1)
        ours = table.keep[row] * noisy + table.blend[row] * clean + table.fresh[row] * fresh
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
        noisy = expected


@given(num_steps=st.integers(1, 40), size=st.integers(2, 120))
def test_fresh_noise_never_meets_itself_in_one_place(num_steps: int, size: int) -> None:
    orders = shuffles(num_steps, size)
    assert all(sorted(order) == list(range(size)) for order in orders.tolist())
    for place, taken in enumerate(orders[: size - 1].T):
        assert place not in taken
        assert len(set(taken.tolist())) == len(taken)
