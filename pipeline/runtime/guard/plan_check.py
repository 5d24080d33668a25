"""Measures how far plans, and the stops behind them, fall short of the required clearance.

Uses NumPy only. N plans, K rows, J joints, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.objects import Objects
from pipeline.clearance.sweep import Indices, Mask, Sweep
from pipeline.runtime.limiter import Limiter

Array = NDArray[np.float64]
ROUNDING_M = 1e-4
"""Tolerance when a motion is compared with the arm's present distance, m."""


@dataclass(frozen=True)
class Measured:
    """Result of comparing N plans with their margins."""

    lack: Array
    """Largest shortfall against the margin, m; at most 0 if the plan is free. (N,)."""
    pair: Indices
    """Pair with the largest shortfall. (N,)."""
    clearance: Array
    """Distance of that pair, m. (N,)."""


@dataclass(frozen=True)
class Path:
    """N plans as the limiter sends them."""

    position: Array
    """The present position, then each row as sent, rad. (N, K + 1, J)."""
    velocity: Array
    """Velocity of the step to each position, rad/s. (N, K + 1, J)."""

    @property
    def steps(self) -> int:
        """Rows of a plan, K."""
        return int(self.position.shape[1]) - 1

    def of(self, plans: Indices) -> Path:
        """Select some of the plans."""
        return Path(self.position[plans], self.velocity[plans])

    def stop(self, limiter: Limiter, row: int, steps: int = 0) -> Array:
        """Compute what is sent if the arm brakes after some rows.

        Args:
            limiter: knows how fast the joints brake.
            row: number of rows that are followed before.
            steps: least length of the result; the arms stay where they have stopped.

        Returns:
            Motions from the present position to rest, rad. Shape (N, row + S + 1, J), S the steps
            in which all these arms come to rest, or (N, steps + 1, J) if that is longer.
        """
        velocity = self.velocity[:, row]
        left = max(limiter.stop_steps(velocity), steps - row)
        braking = limiter.braking(self.position[:, row], velocity, left)
        return np.concatenate([self.position[:, : row + 1], braking], axis=1)


class PlanCheck:
    """Checks plans of one arm, as the limiter will send them."""

    executed: int = 1
    """Rows of a plan that are sent before the next one."""

    def __init__(self, sweep: Sweep, least_m: Array) -> None:
        """Store the sweep and the least distances.

        Args:
            sweep: samples motions and measures their clearances.
            least_m: least distance of each pair, m. Shape (P,).
        """
        self._sweep, self._least = sweep, least_m

    def safe(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Mask:
        """Whether plans and a stop behind each keep the least distances. (N,)."""
        return self.measure(plans, robots, limiter, objects, self._least).lack <= 0

    def measure(
        self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects, margin: Array
    ) -> Measured:
        """Compare plans with margins, and the stops behind them with the least distances.

        One of two stops must be free: the one at the plan's end or the one before the next plan.

        Args:
            plans: rad. Shape (N, K, J).
            robots: robot of each plan. Shape (N,).
            limiter: knows positions and velocities.
            objects: poses of all robots' objects.
            margin: distance that a plan must keep for each pair, m. Shape (P,).
        """
        path = self._path(plans, robots, limiter)
        motions = path.stop(limiter, path.steps)
        found, own = self._compare(motions, robots, objects, margin, path.steps)
        left = np.flatnonzero((own <= 0) & (found.lack > 0))
        if len(left) and self.executed < path.steps:
            early = path.of(left).stop(limiter, self.executed)
            lack = self.lack(early, robots[left], objects)
            found.lack[left] = np.minimum(found.lack[left], lack)
        return found

    def stops(self, plans: Array, robots: Indices, limiter: Limiter, rows: Sequence[int]) -> Array:
        """Compute what is sent if plans are followed for some rows and the arm then brakes.

        Args:
            plans: N plans, rad. Shape (N, K, J).
            robots: robot of each plan. Shape (N,).
            limiter: knows positions and velocities.
            rows: R numbers of rows, each from 0 to K.

        Returns:
            Motions from the present position to rest, rad. Shape (N, R, K + S + 1, J), S the steps
            in which these arms come to rest at most.
        """
        path = self._path(plans, robots, limiter)
        longest = path.steps + limiter.stop_steps(path.velocity)
        return np.stack([path.stop(limiter, row, longest) for row in rows], axis=1)

    def lack(self, motions: Array, robots: Indices, objects: Objects) -> Array:
        """Shortfall of motions, the present position first, against the least distance, m. (N,)."""
        found, _ = self._compare(motions, robots, objects, self._least, motions.shape[1])
        return found.lack

    def _path(self, plans: Array, robots: Indices, limiter: Limiter) -> Path:
        """What is sent if plans are followed to their last row."""
        sent = limiter.preview(plans, robots)
        position = np.concatenate([limiter.position[robots, None], sent], axis=1)
        velocity = np.diff(position, axis=1) * limiter.rate_hz
        velocity = np.concatenate([limiter.velocity[robots, None], velocity], axis=1)
        return Path(position, velocity)

    def _compare(
        self, motions: Array, robots: Indices, objects: Objects, margin: Array, steps: int
    ) -> tuple[Measured, Array]:
        """Compare the first steps with a margin, m (P,), and the others with the least distances.

        Returns:
            The result, and the largest shortfall in the first steps, m. Shape (N,).
        """
        around = objects.of(robots)
        near = self._sweep.near(motions, around, margin)
        number = len(motions)
        own, lack = np.full(number, -np.inf), np.full(number, -np.inf)
        pair, clearance = np.zeros(number, dtype=np.int64), np.full(number, np.inf)
        if not len(near.sample):
            return Measured(lack, pair, clearance), own
        distance = self._sweep.measure(motions, around, near).distance
        motion = near.motion[near.sample]
        now = np.full((number, len(margin)), np.inf)
        start = (near.step[near.sample] == 0) & (near.share[near.sample] == 0)
        now[motion[start], near.pair[start]] = distance[start]
        # An arm that is already too close may move as long as it does not come closer.
        allowed = now[motion, near.pair] - ROUNDING_M
        later, first = ~start, near.step[near.sample] < steps
        needed = np.where(first, margin[near.pair], self._least[near.pair])
        missing = np.minimum(needed, allowed) - distance
        np.maximum.at(lack, motion[later], missing[later])
        np.maximum.at(own, motion[later & first], missing[later & first])
        # Ascending order: the worst violation of each plan is written last and stays.
        order = np.flatnonzero(later)[np.argsort(missing[later], kind="stable")]
        pair[motion[order]] = near.pair[order]
        clearance[motion[order]] = distance[order]
        return Measured(lack, pair, clearance), own
