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
from pipeline.clearance.poses import JointFrames, Poses, chained
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
        self._chain, self._frames = chain, JointFrames(chain, joints)
        self._column, self._slides = self._frames.column, self._frames.slides
        # Orientation and centre of each shape behind its joint.
        rotation = np.array([shape.rotation for shape in shapes]).reshape(-1, 3, 3)
        self._centre = np.array([shape.centre for shape in shapes]).reshape(-1, 3)
        local = np.concatenate([rotation, self._centre[..., None]], axis=2)
        self._local = np.moveaxis(local, 0, -1)[..., None]
        self._half = np.array([shape.half_m for shape in shapes]).reshape(-1, 3).T[..., None]
        self._disc = np.array([shape.disc_m for shape in shapes])[:, None]
        self._ball = np.array([shape.ball_m for shape in shapes])[:, None]
        flat = np.hypot(self._half[0], self._half[1]) + self._disc
        self._radius = (np.hypot(flat, self._half[2]) + self._ball)[:, 0]
        moving = self._joint[self.pairs] > 0
        self.own: NDArray[np.bool_] = np.asarray(moving.all(axis=1))
        """Whether both shapes of a pair are moving links of the arm. (P,)."""
        travel = np.maximum(np.abs(limits.lower), np.abs(limits.upper))
        self.reach = self._reach(np.where(np.isfinite(travel), travel, ENDLESS_M))
        """Largest travel of any point per unit of each joint, m/rad (1 if prismatic). (J,)."""

    def _reach(self, travel: Array) -> Array:
        # Distances along the chain, so that the bound holds for every pose of the other joints.
        reach = np.zeros(self.num_joints)
        for index, (column, slides) in enumerate(zip(self._column, self._slides, strict=True)):
            far = [
                np.linalg.norm(self._centre[g]) + self._radius[g] + self._length(index, k, travel)
                for g, k in enumerate(self._joint)
                if k > index
            ]
            reach[column] = 1.0 if slides else max(far, default=0.0)
        return reach

    def _length(self, first: int, last: int, travel: Array) -> float:
        """Upper bound of the distance from a joint's frame to the frame after `last` joints, m."""
        between = range(first + 1, last)
        fixed = sum(np.linalg.norm(self._chain.joints[k].translation) for k in between)
        return float(fixed + sum(travel[self._column[k]] for k in between if self._slides[k]))

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
        frames, axis = self._frames(joint_pos)
        placed = chained(frames[:, :, self._joint], self._local)
        rotation, centre = placed[:, :3], placed[:, 3]
        if self.object is not None:
            rotation[:, :, self.object] = z_along(objects.axis.T)
            centre[:, self.object] = objects.position.T
        half, disc, ball = self._half, self._disc, self._ball
        if self.slots:
            number, first = len(joint_pos), len(self._joint) - self.slots
            rows = np.tile(pad(np.zeros((0, COLUMNS)), self.slots), (number, 1, 1))
            if objects.obstacles is not None:
                rows[:, : objects.obstacles.shape[1]] = objects.obstacles
            rotation[:, :, first:] = rotations(rows[..., 3:7]).transpose(2, 3, 1, 0)
            centre[:, first:] = rows[..., :3].T
            half, disc, ball = (np.repeat(sizes, number, axis=-1) for sizes in (half, disc, ball))
            half[:, first:], disc[first:] = rows[..., 7:10].T, rows[..., 10].T
            ball[first:] = rows[..., 11].T
        return Poses(rotation, centre, axis, frames[:, 3, 1:], half, disc, ball)

    def bounds(self, joint_pos: Array, objects: Objects) -> Array:
        """Compute cheap lower bounds of all distances.

        The smaller body of each pair is replaced by its bounding ball.

        Args:
            joint_pos: joint positions, rad (m for prismatic joints). Shape (S, J).
            objects: object and obstacles of each sample.

        Returns:
            Lower bounds, m. Shape (S, P).
        """
        found = np.empty((len(joint_pos), len(self.pairs)))
        for first in range(0, len(joint_pos), BLOCK):
            rows = np.arange(first, min(first + BLOCK, len(joint_pos)))
            found[rows] = self._bounds(self.poses(joint_pos[rows], objects.of(rows))).T
        return found

    def _bounds(self, poses: Poses) -> Array:
        """`bounds` of some samples. Shape (P, S)."""
        small, large = self.pairs.T
        away = poses.centre[:, small] - poses.centre[:, large]
        local = np.abs(turned_back(poses.rotation[:, :, large], away))
        local -= poses.half[:, large]
        np.maximum(local, 0.0, out=local)
        flat = np.sqrt(local[0] ** 2 + local[1] ** 2) - poses.disc[large]
        np.maximum(flat, 0.0, out=flat)
        bound: Array = np.sqrt(flat**2 + local[2] ** 2)
        bound -= poses.ball[large]
        bound -= self._radius[small, None]
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
        rotation_a, rotation_b = poses.rotation[:, :, a, sample], poses.rotation[:, :, b, sample]
        centre_a, centre_b = poses.centre[:, a, sample], poses.centre[:, b, sample]
        apart = turned_back(rotation_a, centre_a - centre_b)
        turn = turned_back(rotation_a[:, :, None], rotation_b)
        of = sample if poses.half.shape[-1] > 1 else np.zeros_like(sample)
        first = Body(poses.half[:, a, of], poses.disc[a, of])
        second = Body(poses.half[:, b, of], poses.disc[b, of])
        balls = poses.ball[a, of] + poses.ball[b, of]
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
        axis, origin = poses.axis[..., sample], poses.origin[..., sample]
        slope = np.zeros(axis.shape[1:])
        along = np.einsum("kcm,km->cm", axis, normal)
        first = np.arange(len(slope))[:, None]
        for sign, shape, point in zip((1.0, -1.0), shapes, points, strict=True):
            # Speed of a point along the normal: n · (a × r) = a · (r × n).
            x, y, z = point[:, None] - origin
            p, q, r = normal
            speed = axis[0] * (y * r - z * q)
            speed += axis[1] * (z * p - x * r)
            speed += axis[2] * (x * q - y * p)
            speed[self._slides] = along[self._slides]
            slope += np.where(self._joint[shape] > first, sign * speed, 0.0)
        gradient = np.zeros((len(sample), self.num_joints))
        gradient[:, self._column] = slope.T
        return gradient
