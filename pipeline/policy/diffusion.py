"""The diffusion process: noise schedule and samplers, as tables of numbers. Pure.

Shapes: N noise levels of training, K inference steps. Own code, because the coefficients must live
inside the exported graph; the tests check every one of them against diffusers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Sampler = Literal["ddim", "ddpm"]
Prediction = Literal["sample", "epsilon", "velocity"]

MAX_BETA = 0.999
"""Cap of one step's noise (Nichol & Dhariwal 2021), as squaredcos_cap_v2 in diffusers."""


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


def noise_levels(num_steps: int) -> tuple[Array, Array]:
    """How a chunk is mixed with noise at each level: noisy = signal · clean + spread · noise.

    Args:
        num_steps: N.

    Returns:
        Signal and spread, shape (N,) each.
    """
    alphas = cosine_alphas_cumprod(num_steps)
    return np.sqrt(alphas), np.sqrt(1 - alphas)


def inference_steps(num_train_steps: int, num_inference_steps: int) -> NDArray[np.int64]:
    """Training steps that are visited in inference, from noisy to clean ("leading" spacing).

    Args:
        num_train_steps: N.
        num_inference_steps: K, at most N.

    Returns:
        Shape (K,), falling, the last one 0.
    """
    stride = num_train_steps // num_inference_steps
    return np.arange(num_inference_steps, dtype=np.int64)[::-1] * stride


@dataclass(frozen=True)
class SamplerTable:
    """Coefficients of a sampler, one row a step.

    With the network's output o, the noisy chunk x and fresh noise z, a step is

        clean = clip(from_output · o + from_noisy · x)
        x     ← keep · x + blend · clean + fresh · z

    DDIM (Song et al. 2021, eq. 12, η = 0) derives the noise from the clipped sample again, so that
    x stays on the schedule. DDPM (Ho et al. 2020, eq. 7) draws from the posterior.
    """

    steps: NDArray[np.int64]
    """Training levels, shape (K,)."""
    from_output: Array
    from_noisy: Array
    keep: Array
    blend: Array
    fresh: Array

    @classmethod
    def build(
        cls,
        sampler: Sampler,
        num_train_steps: int,
        num_inference_steps: int,
        prediction: Prediction,
    ) -> SamplerTable:
        """The table.

        Args:
            sampler: ddim or ddpm.
            num_train_steps: N.
            num_inference_steps: K.
            prediction: what the network predicts (see `PolicyModel.target`).
        """
        levels = noise_levels(num_train_steps)
        steps = inference_steps(num_train_steps, num_inference_steps)
        before = steps - num_train_steps // num_inference_steps
        signal, spread = (level[steps] for level in levels)
        signal_before = np.where(before >= 0, levels[0][before], 1.0)
        spread_before = np.where(before >= 0, levels[1][before], 0.0)
        if sampler == "ddpm":
            kept = (signal / signal_before) ** 2
            keep = np.sqrt(kept) * spread_before**2 / spread**2
            blend = signal_before * (1 - kept) / spread**2
            fresh = spread_before / spread * np.sqrt(1 - kept)
        else:
            keep = spread_before / spread
            blend = signal_before - keep * signal
            fresh = np.zeros_like(keep)
        return cls(steps, *_to_clean(prediction, signal, spread), keep, blend, fresh)

    def rows(self) -> NDArray[np.float32]:
        """The five coefficients as one table, shape (K, 5)."""
        columns = (self.from_output, self.from_noisy, self.keep, self.blend, self.fresh)
        return np.stack(columns, axis=1).astype(np.float32)


def _to_clean(prediction: Prediction, signal: Array, spread: Array) -> tuple[Array, Array]:
    """Factors of the network's output and of the noisy chunk that make the clean chunk."""
    if prediction == "sample":
        return np.ones_like(signal), np.zeros_like(signal)
    if prediction == "epsilon":
        return -spread / signal, 1 / signal
    return -spread, signal


def shuffles(num_inference_steps: int, size: int) -> NDArray[np.int64]:
    """Where each step of DDPM takes its fresh noise from: the starting noise, rearranged.

    One noise decides the whole chunk, in torch as in an exported graph without a generator of its
    own. Rearranged standard normal numbers are standard normal; no step finds a number in the place
    where the start or another step had it, so what meets in one place is independent.

    Args:
        num_inference_steps: K.
        size: numbers of a chunk, H · A.

    Returns:
        Permutations of 0 … size − 1, shape (K, size).
    """
    rng = np.random.default_rng(0)
    # Cyclic shifts of one hidden order: two of them agree nowhere until all have been used.
    order = rng.permutation(size)
    place = np.argsort(order)
    distances = rng.permutation(np.arange(1, max(size, 2)))
    shift = distances[np.arange(num_inference_steps) % len(distances)]
    found: NDArray[np.int64] = order[(place[None] + shift[:, None]) % size]
    return found
