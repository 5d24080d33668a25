"""Describes what surrounds the arm of each motion: the object and the obstacles.

Uses NumPy only. N motions, K obstacles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
FAR_M = 1e3
"""Coordinate given to an object whose position is unknown, so that it never matters, m."""


@dataclass(frozen=True)
class Objects:
    """Pose of the object of each motion, and the obstacles around it."""

    position: Array
    """Centres in the base frame, m. Shape (N, 3)."""
    axis: Array
    """Unit axes. Shape (N, 3)."""
    obstacles: Array | None = None
    """Obstacles in addition to those of the scene, see `pipeline.obstacles`. Shape (N, K, 12)."""

    def of(self, motions: Indices) -> Objects:
        """Select the objects of some motions.

        Args:
            motions: indices of the motions; they may repeat. Shape (N',).
        """
        around = None if self.obstacles is None else self.obstacles[motions]
        return Objects(self.position[motions], self.axis[motions], around)

    @classmethod
    def unknown(cls, number: int, obstacles: Array | None = None) -> Objects:
        """Describe objects of which nothing is known, too far away to matter.

        Args:
            number: number of motions, N.
            obstacles: obstacles around each arm. Shape (N, K, 12).
        """
        axis = np.tile([0.0, 0.0, 1.0], (number, 1))
        return cls(np.full((number, 3), FAR_M), axis, obstacles)
