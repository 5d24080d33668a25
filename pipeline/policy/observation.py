"""Check observations and noise that a caller passes in. Needs NumPy only, not torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import PipelineError
from pipeline.layout import Layout

Float32 = NDArray[np.float32]


class ObservationError(PipelineError):
    """An input is not an observation or noise of this policy."""


def check_observation(obs: ArrayLike, layout: Layout, n_obs_steps: int) -> Float32:
    """Convert observations to the form that the policy takes, and refuse others.

    Args:
        obs: shape (T, S) or (B, T, S), oldest step first, units of the layout.
        layout: the meaning of the S numbers.
        n_obs_steps: T.

    Returns:
        Shape (B, T, S), float32; B is 1 where it was left out.

    Raises:
        ObservationError: another shape, a number that is not finite (its field is named), or a
            quaternion of length 0.
    """
    array = np.asarray(obs, dtype=np.float32)
    if array.ndim == 2:
        array = array[None]
    expected = (n_obs_steps, layout.state_dim)
    if array.ndim != 3 or array.shape[1:] != expected or not array.shape[0]:
        raise ObservationError(
            f"observation has shape {np.shape(obs)}, expected {expected} or (B, {expected[0]}, "
            f"{expected[1]}): {n_obs_steps} steps, oldest first, of {layout.describe()}"
        )
    if not np.isfinite(array).all():
        bad = ", ".join(
            field.name for field in layout.state if not np.isfinite(array[..., field.slice]).all()
        )
        raise ObservationError(f"observation holds a number that is not finite, in {bad}")
    if layout.has("ee_pose"):
        quaternion = layout.unpack(array, "ee_pose")[..., 3:]
        if not np.all(np.abs(quaternion).max(axis=-1) > 1e-3):
            raise ObservationError(
                "observation: ee_pose has a quaternion of length 0, expected a unit quaternion "
                "xyzw; was the pose never filled in?"
            )
    return array


def check_noise(noise: ArrayLike, shape: tuple[int, ...]) -> Float32:
    """Check the noise that a chunk starts from.

    Args:
        noise: standard normal numbers.
        shape: (B, H, A) that fits the observations.

    Returns:
        Float32 of that shape.

    Raises:
        ObservationError: another shape, or a number that is not finite.
    """
    array: NDArray[Any] = np.asarray(noise, dtype=np.float32)
    if array.shape != shape:
        raise ObservationError(f"noise has shape {array.shape}, expected (B, H, A) = {shape}")
    if not np.isfinite(array).all():
        raise ObservationError("noise holds a number that is not finite")
    return array
