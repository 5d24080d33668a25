"""Disturbs rollouts: start of the arm, sensor errors, latency, moved objects. N rollouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Disturbance:
    """Makes a rollout harder than the demonstrations. The default values disturb nothing.

    Servo gains, held commands and the control rate belong to the simulator and are not set here.
    """

    start_rad: float = 0.0
    """Largest offset of each joint from home at the start, drawn uniformly, rad."""
    noise_m: float = 0.0
    """Standard deviation of each coordinate of the observed position, drawn at each step, m."""
    noise_deg: float = 0.0
    """Standard deviation of the axis' rotation about two normals, drawn at each step, degrees."""
    bias_m: float = 0.0
    """Length of a constant error of the observed position, in a random direction, m."""
    bias_deg: float = 0.0
    """Angle of a constant error of the observed axis, degrees."""
    latency_steps: int = 0
    """Age of the state that the policy sees as the present one, control steps."""
    moves_at_s: float = float("inf")
    """Time at which the object is moved to its second place, s."""


UNDISTURBED = Disturbance()


class Sensor:
    """Simulates the observed poses of the objects."""

    def __init__(self, disturbance: Disturbance, rngs: list[np.random.Generator]) -> None:
        """Draw the constant errors.

        Args:
            disturbance: errors of the sensor.
            rngs: N generators, one per rollout, so that rollouts are independent.
        """
        self._noise_m, self._noise_deg = disturbance.noise_m, disturbance.noise_deg
        self._rngs = rngs
        self._offset = disturbance.bias_m * _directions(self._normal(3))
        self._turn = np.radians(disturbance.bias_deg) * _directions(self._normal(2))

    def observe(self, position: Array, axis: Array) -> tuple[Array, Array]:
        """Simulate one observation of each object.

        Args:
            position: true centres, m. Shape (N, 3).
            axis: true unit axes. Shape (N, 3).

        Returns:
            Observed centres and unit axes.
        """
        turn, offset = self._turn, self._offset
        if self._noise_m > 0:
            offset = offset + self._noise_m * self._normal(3)
        if self._noise_deg > 0:
            turn = turn + np.radians(self._noise_deg) * self._normal(2)
        return position + offset, tilt(axis, turn)

    def _normal(self, size: int) -> Array:
        """Draw standard normal numbers from each rollout's own generator. Shape (N, size)."""
        return np.stack([rng.standard_normal(size) for rng in self._rngs])


def tilt(axis: Array, turn: Array) -> Array:
    """Rotate unit vectors about axes perpendicular to them.

    Args:
        axis: unit vectors. Shape (N, 3).
        turn: rotation about each of two normals of the vector, rad. Shape (N, 2); its length is
            the angle between the old and the new vector.

    Returns:
        Unit vectors. Shape (N, 3).
    """
    # The coordinate axis at the largest angle to the vector gives a well-conditioned normal.
    furthest = np.eye(3)[np.argmin(np.abs(axis), axis=-1)]
    first = _directions(np.cross(axis, furthest))
    second = np.cross(axis, first)
    angle = np.linalg.norm(turn, axis=-1, keepdims=True)
    unit = np.divide(turn, angle, out=np.zeros_like(turn), where=angle > 0)
    normal = unit[:, :1] * first + unit[:, 1:] * second
    turned = np.cos(angle) * axis + np.sin(angle) * np.cross(normal, axis)
    return np.where(angle > 0, turned, axis)


def _directions(vectors: Array) -> Array:
    """Scale vectors to unit length."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
