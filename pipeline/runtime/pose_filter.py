"""Steadies the observed pose of an object that lies still, and notices when it was moved.

Numpy alone, so that evaluation and a robot run the same code. N robots, each with one object.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class FilterSettings(Protocol):
    """What of params.yaml, section `execution`, is used here."""

    @property
    def object_window(self) -> int:
        """Observations that are averaged."""

    @property
    def object_jump_m(self) -> float:
        """A moved object is further than this from the mean, m."""

    @property
    def object_jump_deg(self) -> float:
        """Or it is turned by more than this, degrees."""


class ObjectFilter:
    """Mean of the last observations of an object, begun anew where it jumps.

    The k-th observation since a jump enters with weight 1 / k, but at least 1 / window: the plain
    mean at first, an exponential one later. An object in steady motion is followed late by about
    `window` observations; a window of 1 passes every observation on.
    """

    def __init__(self, params: FilterSettings) -> None:
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
        self.jumped = np.zeros(number, dtype=np.bool_)
        """Whether the last observation began anew. Shape (N,)."""

    def update(self, position: Array, axis: Array) -> tuple[Array, Array]:
        """One observation.

        Args:
            position: observed centres, m. Shape (N, 3).
            axis: observed unit axes. Shape (N, 3).

        Returns:
            Steadied centres and unit axes.
        """
        params = self._params
        known = self._seen > 0
        far = np.linalg.norm(position - self._position, axis=-1) > params.object_jump_m
        cosine = np.sum(axis * self._direction, axis=-1)
        turned = cosine < np.cos(np.radians(params.object_jump_deg))
        self.jumped = known & (far | turned)
        self._seen = np.where(self.jumped, 1, self._seen + 1)
        share = (1.0 / np.minimum(self._seen, params.object_window))[:, None]
        self._position = self._position + share * (position - self._position)
        self._axis = self._axis + share * (axis - self._axis)
        self._direction = self._axis / np.linalg.norm(self._axis, axis=-1, keepdims=True)
        return self._position.copy(), self._direction.copy()
