"""Measures how far plans, and the stops behind them, fall short of the required clearance.

Uses NumPy only. N plans, K rows, J joints, P pairs.
"""

from __future__ import annotations

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
        """Shortfall of plans or of the stops behind them, m; 0 or less if they may be sent. (N,)."""
        lack = self.lack(plans, robots, limiter, objects)
        return np.maximum(lack, self.stop_lack(plans, robots, limiter, objects))

    def lack(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Array:
        """Shortfall of plans against the least distance, whatever follows them, m. (N,)."""
        return self.measure(plans, robots, limiter, objects, self._least).lack

    def stop_lack(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Array:
        """Shortfall of the better of two stops, at the plan's end or before the next plan. (N,)."""
        rows = plans.shape[1]
        lack = np.full(len(plans), np.inf)
        for last in (rows, self.executed):
            left = np.flatnonzero(lack > 0)
            if len(left):
                # Braking from full speed may take as long as a plan.
                index = np.minimum(np.arange(2 * rows), last - 1)
                stop = self.lack(plans[left][:, index], robots[left], limiter, objects)
                lack[left] = np.minimum(lack[left], stop)
        return lack

    def measure(
        self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects, margin: Array
    ) -> Measured:
        """Compare plans with the margin of each pair, m, shape (P,)."""
        sent = limiter.preview(plans, robots)
        motions = np.concatenate([limiter.position[robots, None], sent], axis=1)
        around = objects.of(robots)
        near = self._sweep.near(motions, around, margin)
        number = len(plans)
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
