"""Smooths the observed pose of an object that lies still, and notices when it was moved.

Numpy alone, so that evaluation and a robot run the same code. N robots, each with one object.
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
"""A vector shorter than this has no direction."""


class ObjectFilter:
    """Mean of the last observations of an object, begun anew where the object was moved.

    The k-th observation enters with weight 1 / k, but at least 1 / window: the plain mean at first,
    an exponential one later. An object in steady motion is followed late by about `window`
    observations; a window of 1 passes every observation on.

    An observation far from the mean is an outlier and left out, until `object_jump_observations` of
    them in a row lie at one place: then the object was moved, and their mean is where it is now.
    """

    def __init__(self, params: Execution | ExecutionParams) -> None:
        """Fix the window and what counts as a jump.

        Args:
            params: the section `execution`.
        """
        self._params = params
        self.reset(0)

    def reset(self, number: int) -> None:
        """Forget every observation.

        Args:
            number: robots, N.
        """
        self._seen = np.zeros(number, dtype=np.int64)
        self._position: Array = np.zeros((number, 3))
        self._axis: Array = np.zeros((number, 3))
        self._direction: Array = np.zeros((number, 3))
        self._far = np.zeros(number, dtype=np.int64)  # observations in a row that lie elsewhere
        self._far_position: Array = np.zeros((number, 3))  # their sums
        self._far_axis: Array = np.zeros((number, 3))
        self._last = self._position, self._axis
        self.jumped = np.zeros(number, dtype=np.bool_)
        """Whether the last observation showed that the object was moved. Shape (N,)."""

    def update(self, position: Array, axis: Array) -> tuple[Array, Array]:
        """Take one observation.

        Args:
            position: observed centres, m. Shape (N, 3).
            axis: observed axes, of any length but 0. Shape (N, 3).

        Returns:
            Smoothed centres and unit axes.
        """
        axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
        far = (self._seen > 0) & self._apart(position, axis, self._position, self._direction)
        again = far & (self._far > 0) & ~self._apart(position, axis, *self._last)
        self._far = np.where(far, np.where(again, self._far + 1, 1), 0)
        self._far_position = np.where(again[:, None], self._far_position, 0.0) + position
        self._far_axis = np.where(again[:, None], self._far_axis, 0.0) + axis
        self._last = position.copy(), axis
        self.jumped = self._far >= self._params.object_jump_observations
        count = np.maximum(self._far, 1)[:, None]
        self._seen = np.where(self.jumped, self._far, self._seen + ~far)
        weight = 1.0 / np.clip(self._seen, 1, self._params.object_window)
        share = np.where(far, 0.0, weight)[:, None]
        jumped = self.jumped[:, None]
        self._position = np.where(
            jumped, self._far_position / count, self._position + share * (position - self._position)
        )
        self._axis = np.where(
            jumped, self._far_axis / count, self._axis + share * (axis - self._axis)
        )
        self._far[self.jumped] = 0
        length = np.linalg.norm(self._axis, axis=-1, keepdims=True)
        # Axes that cancel out have no mean direction; the newest then stands for them.
        self._direction = np.where(
            length > LEAST_LENGTH, self._axis / np.maximum(length, LEAST_LENGTH), axis
        )
        return self._position.copy(), self._direction.copy()

    def _apart(self, position: Array, axis: Array, others: Array, other_axes: Array) -> Mask:
        """Whether two poses of each object are too far apart to be one place. Shape (N,)."""
        distance = np.linalg.norm(position - others, axis=-1)
        cosine = np.sum(axis * other_axes, axis=-1)
        turned = cosine < np.cos(np.radians(self._params.object_jump_deg))
        return np.asarray((distance > self._params.object_jump_m) | turned)
