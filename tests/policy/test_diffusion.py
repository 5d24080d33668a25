from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policy.diffusion import (
    MIP_SIGNAL,
    SamplerTable,
    cosine_alphas_cumprod,
    inference_steps,
    noise_levels,
)

THEIR_NAMES = {"sample": "sample", "epsilon": "epsilon", "velocity": "v_prediction"}


def ddim(num_train: int, num_inference: int, prediction: str) -> DDIMScheduler:
    scheduler = DDIMScheduler(
        num_train_timesteps=num_train,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=True,
        clip_sample_range=1.0,
        prediction_type=THEIR_NAMES[prediction],
        timestep_spacing="trailing",
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
@pytest.mark.parametrize("num_inference", [1, 2, 4, 5, 10, 20, 100])
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
def test_inference_starts_at_the_noise_end_and_ends_with_the_clean_sample(
    num_train: int, data: st.DataObject
) -> None:
    num_inference = data.draw(st.integers(1, num_train))
    steps = inference_steps(num_train, num_inference)
    assert len(steps) == num_inference
    assert steps[0] == num_train - 1
    assert steps[-1] >= 0
    assert np.all(np.diff(steps) < 0)
    table = SamplerTable.build("ddim", num_train, num_inference, "sample")
    assert table.keep[-1] == 0
    assert table.blend[-1] == 1
    assert np.isfinite(table.rows()).all()


@pytest.mark.parametrize("num_inference", [3, 7, 16])
def test_uneven_spacing_visits_the_steps_of_diffusers_and_stays_on_the_schedule(
    num_inference: int,
) -> None:
    theirs = ddim(100, num_inference, "sample")
    table = SamplerTable.build("ddim", 100, num_inference, "sample")
    assert table.steps.tolist() == theirs.timesteps.tolist()
    signal, spread = noise_levels("ddim", 100)
    clean, noise = 0.3, -1.2
    chunk = signal[99] * clean + spread[99] * noise
    for row in range(num_inference - 1):
        chunk = table.keep[row] * chunk + table.blend[row] * clean
        step = table.steps[row + 1]
        assert chunk == pytest.approx(signal[step] * clean + spread[step] * noise)


def test_mip_sees_zeros_first_and_then_nearly_all_of_its_first_answer() -> None:
    table = SamplerTable.build("mip", 100, 2, "sample")
    signal, spread = noise_levels("mip", 100)
    assert signal[table.steps].tolist() == [0.0, MIP_SIGNAL]
    assert spread[table.steps] == pytest.approx([0.0, 1 - MIP_SIGNAL])
    assert table.start == 0.0
    assert table.keep.tolist() == [0.0, 0.0]
    assert table.blend.tolist() == [MIP_SIGNAL, 1.0]
