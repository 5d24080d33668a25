"""Repairs plans that come too close to something, with the smallest change that is needed.

Each sample that is too close moves its two neighbouring rows along the gradient of the clearance by
a damped step (Wampler 1986). The corrections are smoothed along the plan, as in CHOMP (Ratliff et
al. 2009). No row moves further from the plan than the joints can accelerate by its time. Uses NumPy
only. N plans, K rows, J joints, S samples, M combinations of a sample and a pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.objects import Objects
from pipeline.clearance.push import push_rows, spread
from pipeline.clearance.sweep import Sweep
from pipeline.kinematics import JointLimits
from pipeline.runtime.deployment import Execution

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

Array = NDArray[np.float64]
WATCHED_M = 0.03
"""Repair also watches pairs up to this far outside the margin, since it may push them closer, m."""
STALLED_RAD = 0.002
"""Repair ends once no joint of any row moves further than this in a correction, rad."""
BEYOND_M = 0.001
"""Repair aims this far beyond the margin, so that it converges in few steps, m."""


class Repair:
    """Pushes plans of one arm out of the safety margins of one scene."""

    def __init__(
        self,
        sweep: Sweep,
        margin_m: Array,
        settings: Execution | ExecutionParams,
        limits: JointLimits,
        rate_hz: float,
    ) -> None:
        """Store margins and limits.

        Args:
            sweep: samples motions and measures their clearances.
            margin_m: margin of each pair, m. Shape (P,).
            settings: the section `execution`.
            limits: the joint limits.
            rate_hz: rows per second.
        """
        self._sweep, self._aim = sweep, margin_m + BEYOND_M
        self._settings, self._limits, self._rate_hz = settings, limits, rate_hz

    def run(self, plans: Array, start: Array, objects: Objects) -> Array:
        """Push plans out of the margins.

        Args:
            plans: joint positions, rad. Shape (N, K, J).
            start: present joint positions as commanded, rad. Shape (N, J).
            objects: object of each plan.

        Returns:
            Repaired plans, rad. Shape (N, K, J). A plan may still be too close if repair failed.
        """
        number, rows, _ = plans.shape
        motions = np.concatenate([start[:, None], plans], axis=1)
        original = motions.copy()
        times = np.arange(rows + 1)[:, None] / self._rate_hz
        room = 0.5 * self._limits.acceleration * times**2
        low = np.maximum(original - room, np.minimum(self._limits.lower, original))
        high = np.minimum(original + room, np.maximum(self._limits.upper, original))
        near = self._sweep.near(motions, objects, self._aim + WATCHED_M)
        search, most = None, self._settings.guard_turn_rad
        open_ = np.ones(number, dtype=np.bool_)
        for _ in range(self._settings.guard_turns):
            if not len(near.sample):
                break
            found = self._sweep.measure(motions, objects, near, search)
            short = self._aim[near.pair] - found.distance
            # Plans that are free or cannot be improved stay, so that no plan depends on the others.
            worst = np.full(number, -np.inf)
            np.maximum.at(worst, near.motion[near.sample], short)
            open_ &= worst > BEYOND_M
            push = push_rows(near, short, found, (number, rows + 1), most)
            # What a row cannot do its neighbours need not do either.
            push[((push > 0) & (motions >= high)) | ((push < 0) & (motions <= low))] = 0.0
            change = np.clip(motions + self._spread(push), low, high) - motions
            open_ &= np.abs(change).max(axis=(1, 2)) >= STALLED_RAD
            if not open_.any():
                break
            motions[open_] += change[open_]
            keep = (short > -WATCHED_M) & open_[near.motion[near.sample]]
            near, search = near.only(keep), found.search[:, keep]
        return motions[:, 1:]

    def _spread(self, push: Array) -> Array:
        """Smooth corrections along the plan with a Gaussian, keeping the largest one's size."""
        steps = np.arange(push.shape[1])
        width = self._settings.guard_smooth_s * self._rate_hz
        kernel = np.exp(-0.5 * ((steps[:, None] - steps) / max(width, 1e-6)) ** 2)
        wide = spread(push, kernel)
        wide[:, 0] = 0.0
        return wide
