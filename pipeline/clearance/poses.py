"""Poses of an arm's shapes and joints, and the joints that move them.

Uses NumPy only. S samples (joint positions), G shapes, C joints of the chain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Poses:
    """Poses of the shapes and joints in the base frame."""

    rotation: Array
    """Orientations of the shapes. (S, G, 3, 3)."""
    centre: Array
    """Centres of the shapes, m. (S, G, 3)."""
    axis: Array
    """Axes of the C joints of the chain. (S, C, 3)."""
    origin: Array
    """A point on each joint's axis, m. (S, C, 3)."""
    half: Array
    """Half the edges of the shapes' boxes, m. (S, G, 3), or (1, G, 3) if equal in all samples."""
    disc: Array
    """Radii of the shapes' discs, m. (S, G) or (1, G)."""
    ball: Array
    """Radii of the shapes' balls, m. (S, G) or (1, G)."""


@dataclass(frozen=True)
class Link:
    """A joint of the chain."""

    slides: bool
    axis: Array
    rotation: Array
    translation: Array
    column: int
    """Column of the joint positions."""

    def turned(self, angle: Array) -> Array:
        """Compute the rotation I + sin q · K + (1 − cos q) · K² (Rodrigues 1840).

        Args:
            angle: joint positions q, rad. Shape (S,).

        Returns:
            Shape (S, 3, 3).
        """
        x, y, z = self.axis
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
        matrix: Array = np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)
        return matrix
