"""Timing of a path: rounded corners, time-optimal speed, and interpolation between a plan's points.

All functions work on joint positions and joint limits; no robot model is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import toppra
from numpy.typing import NDArray
from scipy.interpolate import BPoly, PPoly
from toppra.algorithm import TOPPRA
from toppra.constraint import JointAccelerationConstraint, JointVelocityConstraint
from toppra.interpolator import AbstractGeometricPath

Array = NDArray[np.float64]

GRID_STEP_RAD = 0.02
"""Spacing, along the path, of the grid over which the speed is optimised."""
MIN_GRID = 40
CHECK_STEP_S = 0.004
STRAIGHT = 1.001
"""Largest length of a straight path, as a multiple of the distance of its ends."""
STRADDLE = 1e-6
"""Width of the grid cell around a corner's ends, where the path's curvature jumps."""

toppra.setup_logging("ERROR")


@dataclass(frozen=True)
class Plan:
    """A timed motion as MoveIt publishes it: P points, J joints."""

    t: Array
    """Times from 0, s, evenly spaced except the last, which is the duration. (P,)."""
    joint_pos: Array
    """rad, (P, J)."""
    joint_vel: Array
    """rad/s, (P, J)."""
    joint_acc: Array
    """rad/s², (P, J)."""

    @property
    def duration_s(self) -> float:
        """Time from the first to the last point."""
        return float(self.t[-1])

    def sample(self, times: Array, order: int = 0) -> Array:
        """Compute the commands of a controller between the points, by quintic splines.

        ros2_control's JointTrajectoryController interpolates points with positions, velocities and
        accelerations in the same way. After the end the last point is held.

        Args:
            times: s from the start, shape (K,).
            order: 0 positions, 1 velocities, 2 accelerations.

        Returns:
            Shape (K, J).
        """
        if len(self.t) == 1:
            held = np.tile(self.joint_pos, (len(times), 1))
            return held if order == 0 else np.zeros_like(held)
        points = np.stack([self.joint_pos, self.joint_vel, self.joint_acc], axis=1)
        spline = BPoly.from_derivatives(self.t, points)
        values = spline(np.clip(times, 0.0, self.duration_s), nu=order)
        if order > 0:
            values[(times < 0) | (times > self.duration_s)] = 0.0
        return np.asarray(values)


class _Path(AbstractGeometricPath):  # type: ignore[misc]
    """A piecewise polynomial with the interface that toppra expects."""

    def __init__(self, polynomial: PPoly):
        self._polynomial = polynomial

    def __call__(self, path_positions: Array, order: int = 0) -> Array:
        return np.asarray(self._polynomial(path_positions, nu=order))

    @property
    def dof(self) -> int:
        return int(self._polynomial.c.shape[2])

    @property
    def path_interval(self) -> Array:
        return np.asarray(self._polynomial.x[[0, -1]])


def round_corners(waypoints: Array, deviation_rad: float) -> PPoly:
    """Connect waypoints by straight segments with parabolic corners, over arc length.

    A parabola replaces the corner between directions u and w over the length δ before and after
    it. It passes the corner at a distance of δ·|w − u| / 4, and its ends are tangent to the
    segments.

    Args:
        waypoints: rad, shape (W, J), W ≥ 2, neighbours distinct.
        deviation_rad: largest distance between the path and a corner.

    Returns:
        Piecewise quadratic over arc length, rad.
    """
    steps = np.diff(waypoints, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    directions = steps / lengths[:, None]
    bends = np.linalg.norm(np.diff(directions, axis=0), axis=1)
    room = np.minimum(lengths[:-1], lengths[1:]) / 2
    deltas = np.minimum(room, 4 * deviation_rad / np.maximum(bends, 1e-9))
    before, after = np.concatenate([[0.0], deltas]), np.concatenate([deltas, [0.0]])
    breaks, pieces = [0.0], []
    zero = np.zeros(waypoints.shape[1])

    def add(length: float, curve: Array, slope: Array, start: Array) -> None:
        if length > 1e-9:
            breaks.append(breaks[-1] + length)
            pieces.append(np.stack([curve, slope, start]))

    for i, direction in enumerate(directions):
        straight = float(lengths[i] - before[i] - after[i])
        add(straight, zero, direction, waypoints[i] + before[i] * direction)
        if i < len(deltas):
            delta = float(deltas[i])
            curve = (directions[i + 1] - direction) / (4 * delta)
            add(2 * delta, curve, direction, waypoints[i + 1] - delta * direction)
    return PPoly(np.stack(pieces, axis=1), np.array(breaks))


def parameterise(
    waypoints: Array,
    velocity_limits: Array,
    acceleration_limits: Array,
    deviation_rad: float,
    dt_s: float,
) -> Plan | None:
    """Compute the fastest motion along a path, at rest at both ends (TOPP-RA, Pham and Pham 2018).

    Args:
        waypoints: rad, shape (W, J); neighbours that coincide are merged.
        velocity_limits: rad/s, shape (J,).
        acceleration_limits: rad/s², shape (J,).
        deviation_rad: how far corners may be cut.
        dt_s: spacing of the plan's points.

    Returns:
        The plan, whose points are within the limits, or None if the optimiser finds no solution.
        A path of zero length gives a single point.
    """
    moved = np.linalg.norm(np.diff(waypoints, axis=0), axis=1) > 1e-9
    waypoints = waypoints[np.concatenate([[True], moved])]
    if len(waypoints) < 2:
        return Plan(np.zeros(1), waypoints, np.zeros_like(waypoints), np.zeros_like(waypoints))
    path = round_corners(waypoints, deviation_rad)
    limits = [
        JointVelocityConstraint(np.stack([-velocity_limits, velocity_limits], axis=1)),
        JointAccelerationConstraint(np.stack([-acceleration_limits, acceleration_limits], axis=1)),
    ]
    problem = TOPPRA(
        limits, _Path(path), gridpoints=_grid(path.x), parametrizer="ParametrizeConstAccel"
    )
    motion = problem.compute_trajectory()
    if motion is None:
        return None
    dense = np.linspace(0.0, motion.duration, int(motion.duration / CHECK_STEP_S) + 2)
    # The optimiser keeps the limits on its grid; between its points they may be exceeded slightly.
    slower = max(
        1.0,
        float(np.max(np.abs(motion(dense, 1)) / velocity_limits)),
        float(np.max(np.abs(motion(dense, 2)) / acceleration_limits)) ** 0.5,
    )
    duration = float(motion.duration) * slower
    t = np.append(np.arange(0.0, duration - 1e-3 * dt_s, dt_s), duration)
    joint_pos, joint_vel, joint_acc = (motion(t / slower, order) for order in range(3))
    joint_pos[-1], joint_vel[-1] = waypoints[-1], 0.0
    return Plan(t, joint_pos, joint_vel / slower, joint_acc / slower**2)


def _grid(breaks: Array) -> Array:
    length = float(breaks[-1])
    cells = max(MIN_GRID, int(np.ceil(length / GRID_STEP_RAD)))
    inner = breaks[1:-1]
    grid = np.concatenate([np.linspace(0, length, cells + 1), inner, inner - STRADDLE])
    grid = np.unique(grid)
    keep = np.concatenate([[True], np.diff(grid) > STRADDLE / 2])
    keep[-1] = True
    return np.asarray(grid[keep])


def is_straight(path: Array) -> bool:
    """Tell whether a path is one straight line in joint space.

    Args:
        path: joint positions in order, rad. Shape (T, J).
    """
    return path_length(path) <= STRAIGHT * float(np.linalg.norm(path[-1] - path[0]))


def path_length(path: Array) -> float:
    """Compute the length of a path in joint space, rad.

    Args:
        path: joint positions in order, rad. Shape (T, J).
    """
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
