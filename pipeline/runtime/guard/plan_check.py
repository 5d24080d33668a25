"""Measures how far plans, and the stops behind them, fall short of the required clearance.

Uses NumPy only. N plans, K rows, J joints, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.guard.objects import Objects
from pipeline.runtime.guard.sweep import Indices, Sweep
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

    def danger(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Array:
        """Shortfall of plans or of the stops behind them, m; at most 0 if they are free. (N,)."""
        lack = self.measure(plans, robots, limiter, objects, self._least).lack
        return np.maximum(lack, self.stop_lack(plans, robots, limiter, objects))

    def stop_lack(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Array:
        """Shortfall of the better of two stops, at the plan's end or before the next plan. (N,)."""
        lack = np.full(len(plans), np.inf)
        for row in (plans.shape[1], self.executed):
            left = np.flatnonzero(lack > 0)
            if len(left):
                motions = self.stops(plans[left], robots[left], limiter, (row,))[:, 0]
                lack[left] = np.minimum(lack[left], self.lack(motions, robots[left], objects))
        return lack

    def stops(self, plans: Array, robots: Indices, limiter: Limiter, rows: Sequence[int]) -> Array:
        """Compute what is sent if plans are followed for some rows and the arm then brakes.

        Args:
            plans: N plans, rad. Shape (N, K, J).
            robots: robot of each plan. Shape (N,).
            limiter: knows positions and velocities.
            rows: R numbers of rows, each from 0 to K.

        Returns:
            Motions from the present position to rest, rad. Shape (N, R, K + S + 1, J), S the steps
            that braking takes at most.
        """
        number = plans.shape[1] + limiter.stop_steps + 1
        sent = limiter.preview(np.concatenate([plans, plans[:, -1:]], axis=1), robots)[:, :-1]
        path = np.concatenate([limiter.position[robots, None], sent], axis=1)
        speed = np.diff(path, axis=1) * limiter.rate_hz
        speed = np.concatenate([limiter.velocity[robots, None], speed], axis=1)
        motions = [
            np.concatenate(
                [
                    path[:, : row + 1],
                    limiter.braking(path[:, row], speed[:, row], number - row - 1),
                ],
                axis=1,
            )
            for row in rows
        ]
        return np.stack(motions, axis=1)

    def lack(self, motions: Array, robots: Indices, objects: Objects) -> Array:
        """Shortfall of motions, the present position first, against the least distance, m. (N,)."""
        return self._compare(motions, robots, objects, self._least).lack

    def measure(
        self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects, margin: Array
    ) -> Measured:
        """Compare plans with the margin of each pair, m, shape (P,)."""
        sent = limiter.preview(plans, robots)
        motions = np.concatenate([limiter.position[robots, None], sent], axis=1)
        return self._compare(motions, robots, objects, margin)

    def _compare(
        self, motions: Array, robots: Indices, objects: Objects, margin: Array
    ) -> Measured:
        around = objects.of(robots)
        near = self._sweep.near(motions, around, margin)
        number = len(motions)
        lack = np.full(number, -np.inf)
        pair, clearance = np.zeros(number, dtype=np.int64), np.full(number, np.inf)
        if not len(near.sample):
            return Measured(lack, pair, clearance)
        distance = self._sweep.measure(motions, around, near).distance
        motion = near.motion[near.sample]
        now = np.full((number, len(margin)), np.inf)
        start = (near.step[near.sample] == 0) & (near.share[near.sample] == 0)
        now[motion[start], near.pair[start]] = distance[start]
        # An arm that is already too close may move as long as it does not come closer.
        allowed = now[motion, near.pair] - ROUNDING_M
        later = ~start
        missing = np.minimum(margin[near.pair], allowed) - distance
        np.maximum.at(lack, motion[later], missing[later])
        # Ascending order: the worst violation of each plan is written last and stays.
        order = np.flatnonzero(later)[np.argsort(missing[later], kind="stable")]
        pair[motion[order]] = near.pair[order]
        clearance[motion[order]] = distance[order]
        return Measured(lack, pair, clearance)
