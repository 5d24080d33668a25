"""A motion to draw: joint positions over time, the object, and what touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """A motion of the arm. T samples, J joints."""

    times: Array
    """Seconds from the start, not decreasing. Shape (T,)."""
    joint_pos: Array
    """Rad. Shape (T, J)."""
    object_pose: tuple[Array, Array] | None
    """Centre, m, and unit axis; None if it is unknown."""
    touching: Sequence[Sequence[str]] = ()
    """Bodies that touch at each sample, by the collision checker's names; empty if none do."""
    obstacles: Array = field(default_factory=lambda: np.zeros((0, COLUMNS)))
    """Obstacles in addition to the scene's, see `pipeline.obstacles`. Shape (M, 12)."""

    def at(self, seconds: float) -> Array:
        """Interpolate the joint positions.

        Args:
            seconds: time from the start, s.

        Returns:
            Rad. Shape (J,).
        """
        return np.array([np.interp(seconds, self.times, values) for values in self.joint_pos.T])

    def touching_at(self, seconds: float) -> Sequence[str]:
        """Return the bodies that touch at a time.

        Args:
            seconds: time from the start, s.
        """
        if not self.touching:
            return ()
        # A step ends at its sample, and its contact lies between this one and the one before.
        index = int(np.searchsorted(self.times, seconds - 1e-9))
        return self.touching[min(index, len(self.touching) - 1)]
