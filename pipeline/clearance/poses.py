"""Poses of an arm's shapes and joints, for many joint positions at once.

Uses NumPy only. S samples (joint positions), G shapes, C joints of the chain. The numbers of a
pose come first and the samples last, so that every operation is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.separation import turned
from pipeline.kinematics import ChainJoint, KinematicChain

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Poses:
    """Poses of the shapes and joints in the base frame."""

    rotation: Array
    """Orientations of the shapes. (3, 3, G, S)."""
    centre: Array
    """Centres of the shapes, m. (3, G, S)."""
    axis: Array
    """Axes of the C joints of the chain. (3, C, S)."""
    origin: Array
    """A point on each joint's axis, m. (3, C, S)."""
    half: Array
    """Half the edges of the shapes' boxes, m. (3, G, S), or (3, G, 1) if equal in all samples."""
    disc: Array
    """Radii of the shapes' discs, m. (G, S) or (G, 1)."""
    ball: Array
    """Radii of the shapes' balls, m. (G, S) or (G, 1)."""


class JointFrames:
    """Computes the frame behind each joint of a chain.

    A revolute joint turns by I + sin q · K + (1 − cos q) · K² (Rodrigues 1840), so each frame in
    the one before is a sum of constant matrices, each times 1, sin q or cos q.
    """

    def __init__(self, chain: KinematicChain, joints: Sequence[str]) -> None:
        """Precompute the constants.

        Args:
            chain: from the base to the TCP.
            joints: joint names in the order of the joint positions; they include the chain's.
        """
        self.column = np.array([joints.index(joint.name) for joint in chain.joints], dtype=np.int64)
        """Column of each joint in the joint positions. (C,)."""
        self.slides = np.array([joint.motion == "prismatic" for joint in chain.joints], np.bool_)
        """Whether each joint slides. (C,)."""
        self._axis = np.array([joint.axis for joint in chain.joints]).reshape(-1, 3).T[..., None]
        terms = np.array([_terms(joint) for joint in chain.joints]).reshape(-1, 3, 3, 4)
        self._terms = np.moveaxis(terms, 0, -1)[..., None]

    def __call__(self, joint_pos: Array) -> tuple[Array, Array]:
        """Compute frames and axes.

        Args:
            joint_pos: joint positions, rad (m for prismatic joints). Shape (S, J).

        Returns:
            Orientation and origin of the base and of the frame behind each joint, m, shape
            (3, 4, C + 1, S), and the joints' axes, shape (3, C, S).
        """
        values = joint_pos.T[self.column]
        sine, cosine = np.sin(values), np.cos(values)
        sine[self.slides] = values[self.slides]
        constant, first, second = self._terms
        steps = constant + first * sine + second * cosine
        frames = np.empty((3, 4, len(values) + 1, len(joint_pos)))
        frames[:, :, 0] = np.eye(3, 4)[..., None]
        for index in range(len(values)):
            frames[:, :, index + 1] = chained(frames[:, :, index], steps[:, :, index])
        return frames, turned(frames[:, :3, 1:], self._axis)


def chained(first: Array, second: Array) -> Array:
    """Chain two frames, each an orientation and an origin, m.

    Args:
        first: shape (3, 4, ...).
        second: shape (3, 4, ...), in the first one.
    """
    product: Array = np.einsum("ik...,kj...->ij...", first[:, :3], second)
    product[:, 3] += first[:, 3]
    return product


def _terms(joint: ChainJoint) -> Array:
    """Frame behind a joint: constant, times sin q (q if prismatic), times cos q. (3, 3, 4)."""
    turn, (x, y, z) = np.array(joint.rotation), joint.axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    terms = np.zeros((3, 3, 4))
    terms[0, :, 3] = joint.translation
    if joint.motion == "prismatic":
        terms[0, :, :3], terms[1, :, 3] = turn, turn @ joint.axis
    else:
        terms[0, :, :3] = turn @ (np.eye(3) + cross @ cross)
        terms[1, :, :3], terms[2, :, :3] = turn @ cross, -turn @ cross @ cross
    return terms
