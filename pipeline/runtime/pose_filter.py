"""Smooths the observed pose of a resting object and detects when the object was moved.

Uses NumPy only, so that evaluation and a robot run the same code. N robots, each with one object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.deployment import Execution

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEAST_LENGTH = 1e-6
"""Length below which a vector is taken to have no direction."""


class ObjectFilter:
    """Averages the last observations of an object and restarts when the object was moved.

    The k-th observation has weight 1 / k, but at least 1 / window: a plain mean at first, an
    exponential moving average later. The estimate lags behind a steadily moving object by about
    `window` observations; a window of 1 passes every observation on.

    An observation far from the mean is an outlier and is ignored. After `object_jump_observations`
    consecutive outliers at one place, the object counts as moved, and their mean is its new pose.
    """

    def __init__(self, params: Execution | ExecutionParams) -> None:
        """Store the window and the thresholds of a jump.

        Args:
            params: the section `execution`.
        """
        self._params = params
        self.reset(0)

    def reset(self, number: int) -> None:
        """Discard all observations.

        Args:
            number: number of robots, N.
        """
        self._seen = np.zeros(number, dtype=np.int64)
        self._position: Array = np.zeros((number, 3))
        self._axis: Array = np.zeros((number, 3))
        self._direction: Array = np.zeros((number, 3))
        self._far = np.zeros(number, dtype=np.int64)  # consecutive outliers
        self._far_position: Array = np.zeros((number, 3))  # their sums
        self._far_axis: Array = np.zeros((number, 3))
        self._last = self._position, self._axis
        self.jumped = np.zeros(number, dtype=np.bool_)
        """Whether the last observation revealed that the object was moved. Shape (N,)."""

    def update(self, position: Array, axis: Array) -> tuple[Array, Array]:
        """Add one observation of each object.

        Args:
            position: observed centres, m. Shape (N, 3).
            axis: observed axes, of any length except 0. Shape (N, 3).

        Returns:
            Smoothed centres, m, and unit axes. Shape (N, 3) each.
        """
        axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
        far = (self._seen > 0) & self._apart(position, axis, self._position, self._direction)
        self._seen = self._seen + ~far
        weight = 1.0 / np.clip(self._seen, 1, self._params.object_window)
        share = np.where(far, 0.0, weight)[:, None]
        self._position = self._position + share * (position - self._position)
        self._axis = self._axis + share * (axis - self._axis)
        if far.any():
            self._count(position, axis, far)
        else:
            self._far, self.jumped = np.zeros_like(self._far), far
        length = np.linalg.norm(self._axis, axis=-1, keepdims=True)
        # Axes that cancel out have no mean direction; the newest one is used instead.
        self._direction = np.where(
            length > LEAST_LENGTH, self._axis / np.maximum(length, LEAST_LENGTH), axis
        )
        return self._position.copy(), self._direction.copy()

    def _count(self, position: Array, axis: Array, far: Mask) -> None:
        """Count outliers at one place; where there are enough, their mean is the new pose."""
        again = far & (self._far > 0) & ~self._apart(position, axis, *self._last)
        self._far = np.where(far, np.where(again, self._far + 1, 1), 0)
        self._far_position = np.where(again[:, None], self._far_position, 0.0) + position
        self._far_axis = np.where(again[:, None], self._far_axis, 0.0) + axis
        self._last = position.copy(), axis
        self.jumped = self._far >= self._params.object_jump_observations
        count = self._far[self.jumped]
        self._seen[self.jumped] = count
        self._position[self.jumped] = self._far_position[self.jumped] / count[:, None]
        self._axis[self.jumped] = self._far_axis[self.jumped] / count[:, None]
        self._far[self.jumped] = 0

    def _apart(self, position: Array, axis: Array, others: Array, other_axes: Array) -> Mask:
        """Whether two poses of each object differ by more than a jump's thresholds. Shape (N,)."""
        distance = np.linalg.norm(position - others, axis=-1)
        cosine = np.sum(axis * other_axes, axis=-1)
        turned = cosine < np.cos(np.radians(self._params.object_jump_deg))
        return np.asarray((distance > self._params.object_jump_m) | turned)
