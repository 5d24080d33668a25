"""The diffusion process: noise schedule and sampler, as tables of numbers. Pure.

Shapes: N noise levels of training, K inference steps. The code is our own because the coefficients
live inside the exported graph; tests compare every one of them with diffusers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Sampler = Literal["ddim", "mip"]
Prediction = Literal["sample", "epsilon", "velocity"]

MAX_BETA = 0.999
"""Cap of one step's noise (Nichol & Dhariwal 2021), as squaredcos_cap_v2 in diffusers."""
MIP_SIGNAL = 0.9
"""Share of the actions that the second pass of MIP sees: t* in Pan et al. 2025."""


def cosine_alphas_cumprod(num_steps: int) -> Array:
    """Share of the signal's variance left after each training step.

    The cosine schedule of Nichol & Dhariwal 2021, "Improved Denoising Diffusion Probabilistic
    Models", eq. 17, with offset 0.008 and betas capped at 0.999.

    Args:
        num_steps: N.

    Returns:
        Falling from almost 1 to almost 0, shape (N,).
    """

    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [
        min(1 - alpha_bar((step + 1) / num_steps) / alpha_bar(step / num_steps), MAX_BETA)
        for step in range(num_steps)
    ]
    remaining: Array = np.cumprod(1 - np.array(betas), dtype=np.float64)
    return remaining


def noise_levels(sampler: Sampler, num_steps: int) -> tuple[Array, Array]:
    """Mix of clean chunk and noise at each level: noisy = signal · clean + spread · noise.

    MIP has two levels whatever N is: its second pass sees almost clean actions, its first pass sees
    zeros, without any noise.

    Args:
        sampler: ddim or mip.
        num_steps: N.

    Returns:
        Signal and spread, shape (N,) each; (2,) for MIP.
    """
    if sampler == "mip":
        return np.array([MIP_SIGNAL, 0.0]), np.array([1 - MIP_SIGNAL, 0.0])
    alphas = cosine_alphas_cumprod(num_steps)
    return np.sqrt(alphas), np.sqrt(1 - alphas)


def inference_steps(num_train_steps: int, num_inference_steps: int) -> NDArray[np.int64]:
    """Training levels that inference visits, from noisy to clean.

    Spacing "trailing" (Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are
    Flawed", section 3.3): the first level is the noisiest one, which is what the chunk starts from,
    even where there is one step only.

    Args:
        num_train_steps: N.
        num_inference_steps: K, at most N.

    Returns:
        Shape (K,), falling, the first one N − 1.
    """
    shares = np.arange(num_inference_steps, 0, -1) / num_inference_steps
    steps: NDArray[np.int64] = np.round(shares * num_train_steps).astype(np.int64) - 1
    return steps


@dataclass(frozen=True)
class SamplerTable:
    """Coefficients of a sampler, one row per step.

    With the noisy chunk x and the network's output o for it, a step is

        clean = clip(from_output · o + from_noisy · x)
        x     ← keep · x + blend · clean

    DDIM (Song et al. 2021, eq. 12, η = 0) derives the noise from the clipped sample again, so that
    x stays on the schedule. MIP (Pan et al. 2025, "Much Ado About Noising", arXiv 2512.01809) is a
    regression in two passes, π(o, 0, 0) and then π(o, t* · a0, t*); it keeps nothing of x.
    """

    steps: NDArray[np.int64]
    """Training levels, shape (K,)."""
    from_output: Array
    from_noisy: Array
    keep: Array
    blend: Array
    start: float = 1.0
    """Factor of the noise that the chunk starts from; 0 for MIP, which starts from zeros."""

    @classmethod
    def build(
        cls,
        sampler: Sampler,
        num_train_steps: int,
        num_inference_steps: int,
        prediction: Prediction,
    ) -> SamplerTable:
        """Compute the table.

        Args:
            sampler: ddim or mip.
            num_train_steps: N.
            num_inference_steps: K; MIP always takes two.
            prediction: what the network predicts (see `PolicyModel`).
        """
        if sampler == "mip":
            one, zero, blend = np.ones(2), np.zeros(2), np.array([MIP_SIGNAL, 1.0])
            return cls(np.array([1, 0]), one, zero, zero, blend, start=0.0)
        levels = noise_levels(sampler, num_train_steps)
        steps = inference_steps(num_train_steps, num_inference_steps)
        signal, spread = (level[steps] for level in levels)
        signal_next, spread_next = np.append(signal[1:], 1.0), np.append(spread[1:], 0.0)
        keep = spread_next / spread
        blend = signal_next - keep * signal
        return cls(steps, *_to_clean(prediction, signal, spread), keep, blend)

    def rows(self) -> NDArray[np.float32]:
        """The four coefficients as one table, shape (K, 4)."""
        columns = (self.from_output, self.from_noisy, self.keep, self.blend)
        return np.stack(columns, axis=1).astype(np.float32)


def _to_clean(prediction: Prediction, signal: Array, spread: Array) -> tuple[Array, Array]:
    """Factors of the network's output and of the noisy chunk that make the clean chunk."""
    if prediction == "sample":
        return np.ones_like(signal), np.zeros_like(signal)
    if prediction == "epsilon":
        return -spread / signal, 1 / signal
    return -spread, signal
