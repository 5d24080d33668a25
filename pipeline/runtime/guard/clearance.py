"""Signed distances of the arm's shapes to scene, object and each other, and their gradients.

NumPy alone, vectorised over samples and pairs. Distances are exact or a little too small, never too
large (`separation`).

S samples (joint positions), J joints, G shapes, P pairs, M combinations of a sample and a pair.
Arrays of the inner computations have M as their last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.collision_geometry import CollisionGeometry, CollisionGeometryError
from pipeline.kinematics import JointLimits, KinematicChain
from pipeline.runtime.guard.separation import Body, separate, turned, turned_back

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

ENDLESS_M = 10.0
"""Travel that a sliding joint without limits counts with."""


@dataclass(frozen=True)
class Poses:
    """Where shapes and joints are, base frame."""

    rotation: Array
    """(S, G, 3, 3)."""
    centre: Array
    """m. (S, G, 3)."""
    axis: Array
    """Of the chain's joints. (S, C, 3)."""
    origin: Array
    """A point on each joint's axis, m. (S, C, 3)."""


@dataclass(frozen=True)
class Clearances:
    """Of M combinations of a sample and a pair."""

    distance: Array
    """At most the signed distance, m; below 0 where the bodies overlap. (M,)."""
    gradient: Array
    """Its derivative by the joint positions, m/rad (m/m for a sliding joint). (M, J)."""
    search: Array
    """Where the search ended; the next one may begin there. (3, M)."""


class ClearanceModel:
    """Distances of one arm in one scene."""

    def __init__(
        self,
        chain: KinematicChain,
        joints: Sequence[str],
        geometry: CollisionGeometry,
        limits: JointLimits,
    ) -> None:
        """Precompute the constants.

        Args:
            chain: base to TCP.
            joints: names in the order of joint positions, the chain's among them.
            geometry: shapes and pairs.
            limits: of the joints: how far a sliding one can carry what follows it.

        Raises:
            CollisionGeometryError: a joint of the chain is not among `joints`, or a shape follows
                more joints than there are.
        """
        missing = [joint.name for joint in chain.joints if joint.name not in joints]
        if missing:
            raise CollisionGeometryError(
                f"the clearance needs joints {', '.join(missing)}, but only {', '.join(joints)} "
                "are named; name them in robot.joints"
            )
        shapes = geometry.shapes
        self._joint = np.array([shape.joints for shape in shapes])
        if len(shapes) and not 0 <= self._joint.max() <= len(chain.joints):
            raise CollisionGeometryError(
                f"a shape follows {self._joint.max()} joints, but the chain has {len(chain.joints)}"
            )
        self.names = tuple(shape.name for shape in shapes)
        self.object = geometry.object
        self.pairs = np.array(geometry.pairs, dtype=np.int64).reshape(-1, 2)
        self.num_joints = len(joints)
        self._links = tuple(_Link(joint.motion == "prismatic", np.array(joint.axis),
                                  np.array(joint.rotation), np.array(joint.translation),
                                  joints.index(joint.name)) for joint in chain.joints)  # fmt: skip
        self._column = np.array([link.column for link in self._links], dtype=np.int64)
        self._slides = np.array([link.slides for link in self._links])
        self._local = np.array([shape.rotation for shape in shapes]).reshape(-1, 3, 3)
        self._centre = np.array([shape.centre for shape in shapes]).reshape(-1, 3)
        self._half = np.array([shape.half_m for shape in shapes]).reshape(-1, 3).T
        self._disc = np.array([shape.disc_m for shape in shapes])
        self._ball = np.array([shape.ball_m for shape in shapes])
        flat = np.hypot(self._half[0], self._half[1]) + self._disc
        self._radius = np.hypot(flat, self._half[2]) + self._ball
        moving = self._joint[self.pairs] > 0
        self.own: NDArray[np.bool_] = np.asarray(moving.all(axis=1))
        """Which pairs are two moving links of the arm. (P,)."""
        travel = np.maximum(np.abs(limits.lower), np.abs(limits.upper))
        self.reach = self._reach(np.where(np.isfinite(travel), travel, ENDLESS_M))
        """How far any point moves at most for a unit of each joint, m/rad (1 for sliding). (J,)."""

    def _reach(self, travel: Array) -> Array:
        # From the joint's axis outwards along the chain, whatever the joints in between do.
        reach = np.zeros(self.num_joints)
        for index, link in enumerate(self._links):
            far = [
                np.linalg.norm(self._centre[g]) + self._radius[g] + self._length(index, k, travel)
                for g, k in enumerate(self._joint)
                if k > index
            ]
            reach[link.column] = 1.0 if link.slides else max(far, default=0.0)
        return reach

    def _length(self, first: int, last: int, travel: Array) -> float:
        """From one joint's frame to the frame after `last` joints, m at most."""
        between = self._links[first + 1 : last]
        fixed = sum(np.linalg.norm(link.translation) for link in between)
        return float(fixed + sum(travel[link.column] for link in between if link.slides))

    def pair_names(self, pair: int) -> tuple[str, str]:
        """Names of a pair: the link before what it must not touch.

        Args:
            pair: its index.
        """
        first, second = sorted(self.pairs[pair], key=lambda shape: -self._joint[shape])
        return self.names[first], self.names[second]

    def poses(self, joint_pos: Array, object_pos: Array, object_axis: Array) -> Poses:
        """Place every shape.

        Args:
            joint_pos: rad (m for sliding joints). Shape (S, J).
            object_pos: centre of the object, m, base frame. Shape (S, 3).
            object_axis: its unit axis. Shape (S, 3).
        """
        number = len(joint_pos)
        frames = np.empty((number, len(self._links) + 1, 3, 3))
        places = np.empty((number, len(self._links) + 1, 3))
        axis = np.empty((number, len(self._links), 3))
        turn, place = np.broadcast_to(np.eye(3), (number, 3, 3)), np.zeros((number, 3))
        frames[:, 0], places[:, 0] = turn, place
        for index, link in enumerate(self._links):
            value = joint_pos[:, link.column]
            place = place + turn @ link.translation
            turn = turn @ link.rotation
            axis[:, index] = turn @ link.axis
            if link.slides:
                place = place + axis[:, index] * value[:, None]
            else:
                turn = turn @ link.turned(value)
            frames[:, index + 1], places[:, index + 1] = turn, place
        held = frames[:, self._joint]
        rotation = held @ self._local
        centre = places[:, self._joint] + np.einsum("sgij,gj->sgi", held, self._centre)
        if self.object is not None:
            rotation[:, self.object] = _z_along(object_axis)
            centre[:, self.object] = object_pos
        return Poses(rotation, centre, axis, places[:, 1:])

    def bounds(self, poses: Poses) -> Array:
        """Lower bounds of all distances: the smaller body of a pair as a ball.

        Args:
            poses: of S samples.

        Returns:
            m. Shape (S, P).
        """
        small, large = self.pairs.T
        away = poses.centre[:, small] - poses.centre[:, large]
        turn = poses.rotation[:, large]
        local = turn[..., 0, :] * away[..., :1]
        local += turn[..., 1, :] * away[..., 1:2]
        local += turn[..., 2, :] * away[..., 2:]
        local = np.abs(local)
        local -= self._half.T[large]
        np.maximum(local, 0.0, out=local)
        flat = np.sqrt(local[..., 0] ** 2 + local[..., 1] ** 2) - self._disc[large]
        np.maximum(flat, 0.0, out=flat)
        inner = np.sqrt(flat**2 + local[..., 2] ** 2)
        bound: Array = inner - self._ball[large] - self._radius[small]
        return bound

    def clearances(
        self, poses: Poses, sample: Indices, pair: Indices, search: Array | None = None
    ) -> Clearances:
        """Distances and gradients.

        Args:
            poses: of S samples.
            sample: which of them. Shape (M,).
            pair: which pair. Shape (M,).
            search: of an earlier call for nearly the same poses. Shape (3, M).
        """
        a, b = self.pairs[pair].T
        rotation_a = np.moveaxis(poses.rotation[sample, a], 0, -1)
        rotation_b = np.moveaxis(poses.rotation[sample, b], 0, -1)
        centre_a, centre_b = poses.centre[sample, a].T, poses.centre[sample, b].T
        apart = turned_back(rotation_a, centre_a - centre_b)
        turn = np.stack([turned_back(rotation_a, rotation_b[:, k]) for k in range(3)], axis=1)
        first = Body(self._half[:, a], self._disc[a])
        second = Body(self._half[:, b], self._disc[b])
        balls = self._ball[a] + self._ball[b]
        found = separate(apart, turn, first, second, search)
        # Points of both bodies that are nearest to each other, or a common one; base frame.
        at_a = centre_a - turned(rotation_a, found.on_first)
        at_b = centre_b + turned(rotation_b, found.on_second)
        normal = turned(rotation_a, found.direction)
        gradient = self._gradient(poses, sample, (a, b), normal, (at_a, at_b))
        return Clearances(found.bound - balls, gradient, found.on_second)

    def _gradient(
        self,
        poses: Poses,
        sample: Indices,
        shapes: tuple[Indices, Indices],
        normal: Array,
        points: tuple[Array, Array],
    ) -> Array:
        """How the two points part along the normal: (M, J)."""
        gradient = np.zeros((len(sample), self.num_joints))
        for index, column in enumerate(self._column):
            axis, origin = poses.axis[sample, index].T, poses.origin[sample, index].T
            for sign, shape, point in zip((1.0, -1.0), shapes, points, strict=True):
                if self._slides[index]:
                    speed = (axis * normal).sum(axis=0)
                else:
                    x, y, z = point - origin
                    p, q, r = normal
                    arm = np.stack([y * r - z * q, z * p - x * r, x * q - y * p])
                    speed = (axis * arm).sum(axis=0)
                gradient[:, column] += np.where(self._joint[shape] > index, sign * speed, 0.0)
        return gradient


@dataclass(frozen=True)
class _Link:
    """A joint of the chain."""

    slides: bool
    axis: Array
    rotation: Array
    translation: Array
    column: int
    """Of the joint positions."""

    def turned(self, angle: Array) -> Array:
        """I + sin q · K + (1 − cos q) · K² (Rodrigues 1840). (S, 3, 3)."""
        x, y, z = self.axis
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
        matrix: Array = np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)
        return matrix


def _z_along(axis: Array) -> Array:
    """Rotations that turn z into unit axes (S, 3); x and y are any two across."""
    least = np.abs(axis).argmin(axis=1)
    across = np.cross(axis, np.eye(3)[least])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.stack([across, np.cross(axis, across), axis], axis=-1)
