"""Computes signed distances between the arm, the scene and the object, and their gradients.

Uses NumPy only and is vectorised over samples and pairs. Distances are exact or slightly too small,
but never too large (see `separation`).

S samples (joint positions), J joints, G shapes, P pairs, M combinations of a sample and a pair.
In the inner computations, M is the last axis of every array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.objects import Objects
from pipeline.clearance.poses import Link, Poses
from pipeline.clearance.separation import Body, separate, turned, turned_back, z_along
from pipeline.collision_geometry import CollisionGeometry, CollisionGeometryError, Shape
from pipeline.kinematics import JointLimits, KinematicChain
from pipeline.obstacles import COLUMNS, OBSTACLE, pad, rotations

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

EYE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
ZERO = (0.0, 0.0, 0.0)
ENDLESS_M = 10.0
"""Travel assumed for a prismatic joint without limits, m."""
BLOCK = 256
"""Samples whose bounds are computed together: they fit the CPU's cache."""


@dataclass(frozen=True)
class Clearances:
    """Distances and gradients for M combinations of a sample and a pair."""

    distance: Array
    """Lower bound of the signed distance, m; negative where the bodies overlap. (M,)."""
    search: Array
    """Points at which the search ended; they can start the next one. (3, M)."""
    gradient: Callable[[Mask], Array]
    """Computes derivatives of the distances with respect to the joint positions, m/rad (m/m for a
    prismatic joint), for some of the combinations. (M,) to (M', J)."""


class ClearanceModel:
    """Computes distances for one arm in one scene."""

    def __init__(
        self,
        chain: KinematicChain,
        joints: Sequence[str],
        geometry: CollisionGeometry,
        limits: JointLimits,
        obstacles: int = 0,
    ) -> None:
        """Precompute the constants.

        Args:
            chain: kinematic chain from the base to the TCP.
            joints: joint names in the order of the joint positions, including the chain's joints.
            geometry: collision shapes and the pairs to check.
            limits: joint limits; they bound the travel of prismatic joints.
            obstacles: number of obstacles that come with the objects, K; they are checked against
                all links of the arm.

        Raises:
            CollisionGeometryError: a joint of the chain is missing from `joints`, or a shape is
                attached behind more joints than the chain has.
        """
        missing = [joint.name for joint in chain.joints if joint.name not in joints]
        if missing:
            raise CollisionGeometryError(
                f"the clearance needs joints {', '.join(missing)}, but robot.joints lists only "
                f"{', '.join(joints)}; add them to robot.joints"
            )
        fixed = sum(shape.name.startswith(OBSTACLE) for shape in geometry.shapes)
        names = [f"{OBSTACLE} {fixed + slot}" for slot in range(1, obstacles + 1)]
        shapes = (*geometry.shapes, *(Shape(name, 0, EYE, ZERO, ZERO, 0.0, 0.0) for name in names))
        self.slots = obstacles
        self._joint = np.array([shape.joints for shape in shapes])
        if shapes and not 0 <= self._joint.max() <= len(chain.joints):
            raise CollisionGeometryError(
                f"a shape is attached behind {self._joint.max()} joints, but the chain has only "
                f"{len(chain.joints)}"
            )
        self.names = tuple(shape.name for shape in shapes)
        self.object = geometry.object
        links = np.flatnonzero(self._joint > 0)
        slots = np.arange(len(geometry.shapes), len(shapes))
        around = np.stack(np.meshgrid(links, slots), axis=-1).reshape(-1, 2)
        fixed_pairs = np.array(geometry.pairs, dtype=np.int64).reshape(-1, 2)
        self.pairs = np.concatenate([fixed_pairs, around])
        self.num_joints = len(joints)
        self._links = tuple(Link(joint.motion == "prismatic", np.array(joint.axis),
                                  np.array(joint.rotation), np.array(joint.translation),
                                  joints.index(joint.name)) for joint in chain.joints)  # fmt: skip
        self._column = np.array([link.column for link in self._links], dtype=np.int64)
        self._slides = np.array([link.slides for link in self._links])
        self._local = np.array([shape.rotation for shape in shapes]).reshape(-1, 3, 3)
        self._centre = np.array([shape.centre for shape in shapes]).reshape(-1, 3)
        self._half = np.array([shape.half_m for shape in shapes]).reshape(1, -1, 3)
        self._disc = np.array([shape.disc_m for shape in shapes]).reshape(1, -1)
        self._ball = np.array([shape.ball_m for shape in shapes]).reshape(1, -1)
        flat = np.hypot(self._half[0, :, 0], self._half[0, :, 1]) + self._disc[0]
        self._radius = np.hypot(flat, self._half[0, :, 2]) + self._ball[0]
        moving = self._joint[self.pairs] > 0
        self.own: NDArray[np.bool_] = np.asarray(moving.all(axis=1))
        """Whether both shapes of a pair are moving links of the arm. (P,)."""
        travel = np.maximum(np.abs(limits.lower), np.abs(limits.upper))
        self.reach = self._reach(np.where(np.isfinite(travel), travel, ENDLESS_M))
        """Largest travel of any point per unit of each joint, m/rad (1 if prismatic). (J,)."""

    def _reach(self, travel: Array) -> Array:
        # Distances along the chain, so that the bound holds for every pose of the other joints.
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
        """Upper bound of the distance from a joint's frame to the frame after `last` joints, m."""
        between = self._links[first + 1 : last]
        fixed = sum(np.linalg.norm(link.translation) for link in between)
        return float(fixed + sum(travel[link.column] for link in between if link.slides))

    def pair_names(self, pair: int) -> tuple[str, str]:
        """Return the two names of a pair, the moving link first.

        Args:
            pair: index of the pair.
        """
        first, second = sorted(self.pairs[pair], key=lambda shape: -self._joint[shape])
        return self.names[first], self.names[second]

    def poses(self, joint_pos: Array, objects: Objects) -> Poses:
        """Compute the pose of every shape and joint.

        Args:
            joint_pos: joint positions, rad (m for prismatic joints). Shape (S, J).
            objects: object and obstacles of each sample.
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
            rotation[:, self.object] = z_along(objects.axis)
            centre[:, self.object] = objects.position
        half, disc, ball = self._half, self._disc, self._ball
        if self.slots:
            first = len(self._joint) - self.slots
            rows = np.tile(pad(np.zeros((0, COLUMNS)), self.slots), (number, 1, 1))
            if objects.obstacles is not None:
                rows[:, : objects.obstacles.shape[1]] = objects.obstacles
            rotation[:, first:], centre[:, first:] = rotations(rows[..., 3:7]), rows[..., :3]
            half, disc, ball = (np.repeat(a, number, axis=0) for a in (half, disc, ball))
            half[:, first:], disc[:, first:] = rows[..., 7:10], rows[..., 10]
            ball[:, first:] = rows[..., 11]
        return Poses(rotation, centre, axis, places[:, 1:], half, disc, ball)

    def bounds(self, poses: Poses) -> Array:
        """Compute cheap lower bounds of all distances.

        The smaller body of each pair is replaced by its bounding ball.

        Args:
            poses: poses of S samples.

        Returns:
            Lower bounds, m. Shape (S, P).
        """
        number = len(poses.centre)
        found = np.empty((number, len(self.pairs)))
        for first in range(0, number, BLOCK):
            rows = slice(first, first + BLOCK)
            found[rows] = self._bounds(poses, rows, rows if len(poses.half) > 1 else slice(1))
        return found

    def _bounds(self, poses: Poses, rows: slice, sized: slice) -> Array:
        """`bounds` of some samples; `sized` selects the sizes of their shapes."""
        small, large = self.pairs.T
        # Numbers first, samples and pairs last, so that every operation is long and vectorised.
        centre = np.ascontiguousarray(np.moveaxis(poses.centre[rows], -1, 0))
        rotation = np.ascontiguousarray(np.moveaxis(poses.rotation[rows], (-2, -1), (0, 1)))
        away = np.take(centre, small, axis=-1) - np.take(centre, large, axis=-1)
        turn = np.take(rotation, large, axis=-1)
        local = turn[0] * away[0]
        local += turn[1] * away[1]
        local += turn[2] * away[2]
        np.abs(local, out=local)
        local -= np.moveaxis(poses.half[sized, large], -1, 0)
        np.maximum(local, 0.0, out=local)
        flat = np.sqrt(local[0] ** 2 + local[1] ** 2) - poses.disc[sized, large]
        np.maximum(flat, 0.0, out=flat)
        bound: Array = np.sqrt(flat**2 + local[2] ** 2)
        bound -= poses.ball[sized, large]
        bound -= self._radius[small]
        return bound

    def clearances(
        self, poses: Poses, sample: Indices, pair: Indices, search: Array | None = None
    ) -> Clearances:
        """Compute distances and gradients.

        Args:
            poses: poses of S samples.
            sample: index of the sample. Shape (M,).
            pair: index of the pair. Shape (M,).
            search: `Clearances.search` of an earlier call with similar poses. Shape (3, M).
        """
        a, b = self.pairs[pair].T
        rotation_a = np.moveaxis(poses.rotation[sample, a], 0, -1)
        rotation_b = np.moveaxis(poses.rotation[sample, b], 0, -1)
        centre_a, centre_b = poses.centre[sample, a].T, poses.centre[sample, b].T
        apart = turned_back(rotation_a, centre_a - centre_b)
        turn = np.stack([turned_back(rotation_a, rotation_b[:, k]) for k in range(3)], axis=1)
        of = sample if len(poses.half) > 1 else np.zeros_like(sample)
        first = Body(poses.half[of, a].T, poses.disc[of, a])
        second = Body(poses.half[of, b].T, poses.disc[of, b])
        balls = poses.ball[of, a] + poses.ball[of, b]
        found = separate(apart, turn, first, second, search)

        def gradient(some: Mask) -> Array:
            # The nearest points of the two bodies in the base frame; one point if they overlap.
            near_a = turned(rotation_a[..., some], found.on_first[:, some])
            near_b = turned(rotation_b[..., some], found.on_second[:, some])
            points = (centre_a[:, some] - near_a, centre_b[:, some] + near_b)
            normal = turned(rotation_a[..., some], found.direction[:, some])
            return self._gradient(poses, sample[some], (a[some], b[some]), normal, points)

        return Clearances(found.bound - balls, found.on_second, gradient)

    def _gradient(
        self,
        poses: Poses,
        sample: Indices,
        shapes: tuple[Indices, Indices],
        normal: Array,
        points: tuple[Array, Array],
    ) -> Array:
        """Derivative of the points' separation along the normal by the joints. (M, J)."""
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
