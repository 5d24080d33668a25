"""Poses: a position and a unit quaternion, which can be chained and inverted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotate(quaternion: Array, vector: Array) -> Array:
    """A vector rotated by a quaternion, q v q*; scaled by |q|², so that a bad norm can be seen.

    Args:
        quaternion: xyzw, shape (4,).
        vector: shape (3,).
    """
    axis, w = quaternion[:3], quaternion[3]
    cross = np.cross(axis, vector)
    rotated: Array = (w * w - axis @ axis) * vector + 2 * (axis @ vector) * axis + 2 * w * cross
    return rotated


def multiply(first: Array, second: Array) -> Array:
    """The quaternion that turns as the second does and then as the first does.

    Args:
        first: xyzw, shape (4,).
        second: xyzw, shape (4,).
    """
    a, b = first[:3], second[:3]
    axis = first[3] * b + second[3] * a + np.cross(a, b)
    return np.append(axis, first[3] * second[3] - a @ b)


@dataclass(frozen=True)
class Pose:
    """The pose of one frame in another."""

    position: Array
    """m. Shape (3,)."""
    orientation: Array
    """Unit quaternion xyzw. Shape (4,)."""

    def __matmul__(self, other: Pose) -> Pose:
        """The pose of a frame whose pose in this frame is another one."""
        position = self.position + rotate(self.orientation, other.position)
        return Pose(position, multiply(self.orientation, other.orientation))

    def inverse(self) -> Pose:
        """The pose of the other frame in this one."""
        back = self.orientation * np.array([-1.0, -1.0, -1.0, 1.0])
        return Pose(-rotate(back, self.position), back)


IDENTITY = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
