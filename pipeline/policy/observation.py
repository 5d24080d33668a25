"""Check observations and noise that a caller passes in. Needs NumPy only, not torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS, ObstacleError, pad, parse

Float32 = NDArray[np.float32]
Obstacles = ArrayLike | Sequence[Mapping[str, Any]]
"""See `pipeline.obstacles.parse`."""


class ObservationError(PipelineError):
    """An input is not an observation or noise of this policy."""


def check_observation(
    obs: ArrayLike, layout: Layout, n_obs_steps: int, obstacles: int = 0
) -> Float32:
    """Convert observations to the form that the policy takes, and refuse others.

    Args:
        obs: shape (T, S) or (B, T, S), oldest step first, units of the layout. Where the policy
            sees obstacles, S includes 12 numbers for each slot, after the state.
        layout: the meaning of the numbers of the state.
        n_obs_steps: T.
        obstacles: slots for obstacles, K; 0 where the policy sees none.

    Returns:
        Shape (B, T, S), float32; B is 1 where it was left out.

    Raises:
        ObservationError: another shape, a number that is not finite (its field is named), or a
            quaternion of length 0.
    """
    array = np.asarray(obs, dtype=np.float32)
    if array.ndim == 2:
        array = array[None]
    expected = (n_obs_steps, layout.state_dim + obstacles * COLUMNS)
    if array.ndim != 3 or array.shape[1:] != expected or not array.shape[0]:
        raise ObservationError(
            f"observation has shape {np.shape(obs)}, expected {expected} or (B, {expected[0]}, "
            f"{expected[1]}): {n_obs_steps} steps, oldest first, of {layout.describe()}"
            + (f", then {obstacles} obstacles of {COLUMNS} numbers" if obstacles else "")
        )
    if not np.isfinite(array).all():
        bad = (
            ", ".join(
                field.name
                for field in layout.state
                if not np.isfinite(array[..., field.slice]).all()
            )
            or "the obstacles"
        )
        raise ObservationError(f"observation holds a number that is not finite, in {bad}")
    if layout.has("ee_pose"):
        quaternion = layout.unpack(array[..., : layout.state_dim], "ee_pose")[..., 3:]
        if not np.all(np.abs(quaternion).max(axis=-1) > 1e-3):
            raise ObservationError(
                "observation: ee_pose has a quaternion of length 0, expected a unit quaternion "
                "xyzw; was the pose never filled in?"
            )
    return array


def graph_inputs(obs: Float32, layout: Layout) -> dict[str, Float32]:
    """Split checked observations into the inputs of the exported graph.

    Args:
        obs: shape (B, T, S).
        layout: the meaning of the state.

    Returns:
        `obs`, shape (B, T, state_dim), and, where there are more numbers, `obstacles` of the newest
        step, shape (B, K, 12).
    """
    width = layout.state_dim
    if obs.shape[-1] == width:
        return {"obs": obs}
    around = obs[:, -1, width:].reshape(len(obs), -1, COLUMNS)
    return {
        "obs": np.ascontiguousarray(obs[..., :width]),
        "obstacles": np.ascontiguousarray(around),
    }


def obstacle_slots(config: Mapping[str, Any]) -> int:
    """Slots for obstacles that a policy's configuration names; 0 where it sees none.

    Args:
        config: metadata of a checkpoint or a graph.
    """
    seen = (config.get("geometry") or {}).get("obstacles")
    return 0 if seen is None else int(seen["slots"])


def with_obstacles(obs: Float32, obstacles: NDArray[np.floating]) -> Float32:
    """Append obstacles to observations.

    Args:
        obs: shape (..., T, state_dim).
        obstacles: shape (..., K, 12) with the same leading axes.

    Returns:
        Shape (..., T, state_dim + 12 K); `obs` where K is 0.
    """
    flat = obstacles.reshape(*obstacles.shape[:-2], 1, -1)
    if not flat.shape[-1]:
        return obs
    around = np.broadcast_to(flat, (*obs.shape[:-1], flat.shape[-1]))
    return np.concatenate([obs, around], axis=-1, dtype=np.float32)


def observations(
    obs: ArrayLike, layout: Layout, slots: int, obstacles: Obstacles | None = None
) -> Float32:
    """Append obstacles to observations that a caller passes apart from them.

    Args:
        obs: shape (T, state_dim) or (B, T, state_dim). Observations of any other width are
            returned as they are.
        layout: the meaning of the state.
        slots: obstacles that the policy can see, K; 0 if it sees none.
        obstacles: around the arm of every observation, in the form that `parse` takes, or of each,
            shape (B, M, 12); None for none, or where `obs` includes them.

    Returns:
        Shape (T, S) or (B, T, S), with 12 numbers for each of the K slots after the state.

    Raises:
        ObstacleError: an obstacle is malformed, there are more than K, or `obs` includes obstacles
            already.
    """
    array = np.asarray(obs, dtype=np.float32)
    plain = array.shape[-1:] == (layout.state_dim,)
    if obstacles is None and not (plain and slots):
        return array
    if not plain or not slots:
        raise ObstacleError(
            f"obstacles were passed beside observations of shape {array.shape}, which include "
            f"obstacles already or are no observations; expected {layout.state_dim} numbers a step"
            if slots
            else "obstacles were passed, but this policy sees none; leave them out"
        )
    rows = obstacle_rows(() if obstacles is None else obstacles)
    if rows.ndim == 3 and (array.ndim != 3 or len(rows) != len(array)):
        raise ObstacleError(
            f"obstacles have shape {rows.shape} for observations of shape {array.shape}; expected "
            "(M, 12), or (B, M, 12) with one entry for each observation"
        )
    if rows.ndim == 3:
        padded = np.stack([pad(each, slots) for each in rows])
    else:
        padded = np.broadcast_to(pad(rows, slots), (*array.shape[:-2], slots, COLUMNS))
    return with_obstacles(array, padded)


def obstacle_rows(obstacles: Obstacles) -> NDArray[np.float64]:
    """Read obstacles of every observation, or of each.

    Args:
        obstacles: in the form that `parse` takes, or shape (B, M, 12).

    Returns:
        Shape (M, 12) or (B, M, 12).

    Raises:
        ObstacleError: an obstacle is malformed.
    """
    try:
        array = np.asarray(obstacles, dtype=float)
    except (TypeError, ValueError):  # mappings, or malformed
        return parse(obstacles)
    if array.ndim != 3:
        return parse(array)
    return parse(array.reshape(-1, array.shape[-1])).reshape(*array.shape[:2], COLUMNS)


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
