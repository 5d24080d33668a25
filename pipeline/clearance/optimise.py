"""Bends a path away from obstacles, smoothly and with both ends fixed.

Unlike a random tree it always bends the same way, so that neighbouring goals get similar paths. The
idea is CHOMP's (Ratliff et al. 2009): pushes of the obstacles are spread along the path by the
inverse of the metric of its accelerations. R rows, J joints, P pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.push import push_rows, spread
from pipeline.clearance.sweep import Near, Sweep

Array = NDArray[np.float64]
SPACING_M = 0.04
"""Largest travel of any point of the arm between two samples, m."""
ROW_RAD = 0.2
"""Distance of two rows in joint space, rad."""
LEAST_ROWS, MOST_ROWS = 8, 32
TURNS, PULLED_TURNS = 30, 10
"""Largest number of corrections; in the first ones the path is also pulled straight."""
PULL = 0.05
"""Share of the way to the straight line in one correction."""
TURN_RAD = 0.08
"""Largest change of a joint in one correction, rad."""
OTHER_M = 0.005
"""Distance kept from the object and between links of the arm, m: a grasp needs no more."""
SLOPE = 0.15
"""A distance that is smaller at an end of the path has to grow by this much away from it, m/rad."""
ENOUGH = 0.8
"""Share of the distance with which a path is left as it is."""


class PathOptimiser:
    """Bends paths of one arm."""

    def __init__(self, model: ClearanceModel, limits: tuple[Array, Array], distance_m: float):
        """Store the distances that paths should keep.

        Args:
            model: of the arm and its scene.
            limits: smallest and largest joint positions, rad. Shape (J,) each.
            distance_m: distance to keep from table and obstacles where possible, m.
        """
        self._model, self._sweep, self._limits = model, Sweep(model, SPACING_M), limits
        other = model.own | (model.pairs == model.object).any(axis=1)
        self._aim = np.where(other, np.minimum(OTHER_M, distance_m), distance_m)

    def run(self, path: Array, objects: Objects) -> Array:
        """Bend a path until it keeps the distances, or as far as that succeeds.

        Args:
            path: waypoints, rad. Shape (W, J).
            objects: the object and the obstacles; one motion.

        Returns:
            The path itself if nothing is too near, else more waypoints between the same ends, rad.
            Shape (R, J). It may still be too near to something: check it.
        """
        rows = _resampled(path)
        straight = np.linspace(rows[0], rows[-1], len(rows))
        kernel, ends = _metric(len(rows)), self._distances(rows[[0, -1]], objects)
        for turn in range(TURNS):
            near = self._sweep.near(rows[None], objects, self._aim)
            found = self._sweep.measure(rows[None], objects, near)
            aim = self._wanted(rows, near, ends)
            short = aim - found.distance
            if (short <= (1 - ENOUGH) * aim).all():
                return rows if turn else path
            push = push_rows(near, short, found, (1, len(rows)), TURN_RAD)
            if turn < PULLED_TURNS:
                rows = rows + PULL * (straight - rows)
            rows = np.clip(rows + spread(push, kernel)[0], *self._limits)
        return rows

    def _distances(self, joint_pos: Array, objects: Objects) -> Array:
        """Distances of every pair at some configurations (K, J), m. (K, P)."""
        number, pairs = len(joint_pos), len(self._model.pairs)
        poses = self._model.poses(joint_pos, objects.of(np.zeros(number, dtype=np.int64)))
        each = (np.repeat(np.arange(number), pairs), np.tile(np.arange(pairs), number))
        return self._model.clearances(poses, *each).distance.reshape(number, pairs)

    def _wanted(self, rows: Array, near: Near, ends: Array) -> Array:
        """Distance that each sample's pair should keep, m: less near an end that has less. (M,)."""
        lengths = np.linalg.norm(np.diff(rows, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(lengths)])
        at = (along[near.step] + near.share * lengths[near.step])[near.sample]
        first, last = ends[:, near.pair]
        wanted = np.minimum(first + SLOPE * at, last + SLOPE * (along[-1] - at))
        return np.asarray(np.clip(wanted, 0.0, self._aim[near.pair]))


def _resampled(path: Array) -> Array:
    """Evenly spaced waypoints along a path."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    number = int(np.clip(np.ceil(along[-1] / ROW_RAD) + 1, LEAST_ROWS, MOST_ROWS))
    at = np.linspace(0.0, along[-1], number)
    return np.stack([np.interp(at, along, joint) for joint in path.T], axis=1)


def _metric(rows: int) -> Array:
    """Change of every row where one row is pushed by 1 and the rest bends least. (R, R)."""
    bend = np.diff(np.eye(rows), n=2, axis=0)[:, 1:-1]
    inverse = np.linalg.inv(bend.T @ bend)
    kernel = np.zeros((rows, rows))
    kernel[1:-1, 1:-1] = inverse / np.diag(inverse)[None, :]
    return kernel
