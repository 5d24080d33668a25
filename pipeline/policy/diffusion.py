"""The diffusion process: noise schedule and deterministic sampling, as tables of numbers. Pure.

Shapes: N training steps, K inference steps. Own code, because the coefficients must live inside the
exported graph; the tests check every one of them against diffusers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

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
class DdimTable:
    """Coefficients of deterministic DDIM (Song et al. 2021, eq. 12, η = 0), one row a step.

    With the network's output o and the noisy chunk x, a step is

        clean = clip(from_output · o + from_noisy · x)
        x     ← keep · x + blend · clean

    The noise is derived from the clipped sample again, so that x stays on the schedule.
    """

    steps: NDArray[np.int64]
    """Training steps, shape (K,)."""
    from_output: Array
    from_noisy: Array
    keep: Array
    blend: Array

    @classmethod
    def build(cls, num_train_steps: int, num_inference_steps: int, prediction: str) -> DdimTable:
        """The table.

        Args:
            num_train_steps: N.
            num_inference_steps: K.
            prediction: what the network predicts, "sample" or "epsilon".
        """
        alphas = cosine_alphas_cumprod(num_train_steps)
        steps = inference_steps(num_train_steps, num_inference_steps)
        before = steps - num_train_steps // num_inference_steps
        alpha = alphas[steps]
        alpha_before = np.where(before >= 0, alphas[before], 1.0)
        if prediction == "sample":
            from_output, from_noisy = np.ones_like(alpha), np.zeros_like(alpha)
        else:
            from_output, from_noisy = -np.sqrt((1 - alpha) / alpha), 1 / np.sqrt(alpha)
        keep = np.sqrt((1 - alpha_before) / (1 - alpha))
        blend = np.sqrt(alpha_before) - keep * np.sqrt(alpha)
        return cls(steps, from_output, from_noisy, keep, blend)

    def rows(self) -> NDArray[np.float32]:
        """The four coefficients as one table, shape (K, 4)."""
        columns = (self.from_output, self.from_noisy, self.keep, self.blend)
        return np.stack(columns, axis=1).astype(np.float32)
