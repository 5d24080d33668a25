"""Every chunk is checked before it is sent: free as it is, repaired, chosen anew, or stopped.

NumPy alone. N robots, K rows of a plan, J joints, P pairs, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.collision_geometry import CollisionGeometry
from pipeline.kinematics import JointLimits, KinematicChain
from pipeline.runtime.deployment import Execution
from pipeline.runtime.guard.clearance import ClearanceModel
from pipeline.runtime.guard.findings import VERDICTS, Finding, GuardReport
from pipeline.runtime.guard.repair import Repair
from pipeline.runtime.guard.sweep import Indices, Objects, Sweep
from pipeline.runtime.limiter import Limiter

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

Array = NDArray[np.float64]
Sampler = Callable[[Indices, int], Array]
"""Robots (B,) and a number C to other plans of them, rad, shape (B, C, K, J)."""
ROUNDING_M = 1e-4
"""A motion may come nearer by this than the arm is now and still counts as no nearer."""
FAR_M = 1e3
"""Where an object stands that no observation shows."""


COARSE = 3.0
"""Repair samples a motion this much less densely; what comes of it is checked densely."""
STOPS_APART = 4
"""Rows between two places at which a plan may stop."""


class Guard:
    """Decides what is sent instead of a chunk that comes too near to something."""

    def __init__(
        self,
        settings: Execution | ExecutionParams,
        chain: KinematicChain,
        joints: Sequence[str],
        geometry: CollisionGeometry,
        limits: JointLimits,
    ) -> None:
        """Fix arm, scene and settings.

        Args:
            settings: the section `execution`.
            chain: base to TCP.
            joints: names in the order of joint positions.
            geometry: shapes and pairs.
            limits: of the joints.

        Raises:
            CollisionGeometryError: chain, joints and geometry do not fit together.
        """
        self._settings, self._limits = settings, limits
        self._model = ClearanceModel(chain, joints, geometry, limits)
        own = self._model.own
        least = settings.guard_least_m
        # Links of the arm keep the least distance from each other: how near they come is the
        # robot's design, and demonstrations keep no other.
        self._margin = np.where(own, least, settings.guard_margin_m)
        self._least = np.full(len(own), least)
        # What is nearer than `least` at no sample touches between none.
        self._sweep = Sweep(self._model, 2 * least)
        self.reset(0)

    def reset(self, robots: int) -> None:
        """Forget what was counted.

        Args:
            robots: N.
        """
        self._counts = {v: np.zeros(robots, dtype=np.int64) for v in VERDICTS}
        self._last = [Finding("free")] * robots
        self._worst = [Finding("free")] * robots

    def report(self) -> GuardReport:
        """What was done since the reset."""
        counts = {verdict: count.copy() for verdict, count in self._counts.items()}
        return GuardReport(counts, tuple(self._last), tuple(self._worst))

    def review(
        self,
        plan: Array,
        limiter: Limiter,
        objects: Objects | None = None,
        sampler: Sampler | None = None,
        old: Array | None = None,
        robots: Indices | None = None,
    ) -> Array:
        """What to send instead of a plan.

        Args:
            plan: positions to send next, rad. Shape (N, K, J). Left as it is.
            limiter: what it is sent through; it knows where the joints are.
            objects: where the robots' objects are; None where no observation says.
            sampler: makes other plans where repair does not help; None for none.
            old: what is left of the plan before, rad, shape (N, K', J): it was free, so the arm may
                follow it to a stop.
            robots: whose plans they are, for the report; None for all in their order. Shape (N,).

        Returns:
            rad, shape (N, K, J): the very same array where every chunk is free.
        """
        number = len(plan)
        if objects is None:
            axis = np.tile([0.0, 0.0, 1.0], (number, 1))
            objects = Objects(np.full((number, 3), FAR_M), axis)
        everyone = np.arange(number)
        judged = self._judge(plan, everyone, limiter, objects, self._margin)
        bad = np.flatnonzero(judged.lack > 0)
        verdicts = np.zeros(number, dtype=np.int64)
        chosen = plan
        if len(bad) and self._settings.guard == "check":
            verdicts[bad] = VERDICTS.index("unsafe")
        elif len(bad):
            chosen = plan.copy()
            rest = plan[:, :0] if old is None else old
            chosen[bad], verdicts[bad] = self._replace(plan, bad, limiter, objects, sampler, rest)
        self._count(verdicts, judged, everyone if robots is None else robots)
        return chosen

    def _count(self, verdicts: NDArray[np.int64], judged: _Judged, robots: Indices) -> None:
        for plan, (robot, code) in enumerate(zip(robots.tolist(), verdicts, strict=True)):
            verdict = VERDICTS[code]
            self._counts[verdict][robot] += 1
            self._last[robot] = Finding("free")
            if code:
                names = self._model.pair_names(int(judged.pair[plan]))
                found = Finding(verdict, *names, float(judged.clearance[plan]))
                self._last[robot] = found
                if code > VERDICTS.index(self._worst[robot].verdict):
                    self._worst[robot] = found

    def _danger(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Array:
        """By how much plans miss what may be sent at all, m; at most 0 where they may. (N,)."""
        return self._judge(plans, robots, limiter, objects, self._least).lack

    def _judge(
        self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects, margin: Array
    ) -> _Judged:
        """How far plans are from keeping a margin, m by pair (P,)."""
        sent = limiter.preview(plans, robots)
        motions = np.concatenate([limiter.position[robots, None], sent], axis=1)
        around = objects.of(robots)
        near = self._sweep.near(motions, around, margin)
        number = len(plans)
        lack = np.full(number, -np.inf)
        pair, clearance = np.zeros(number, dtype=np.int64), np.full(number, np.inf)
        if not len(near.sample):
            return _Judged(lack, pair, clearance)
        distance = self._sweep.measure(motions, around, near).distance
        motion = near.motion[near.sample]
        now = np.full((number, len(margin)), np.inf)
        start = (near.step[near.sample] == 0) & (near.share[near.sample] == 0)
        now[motion[start], near.pair[start]] = distance[start]
        # An arm that is near already may move on as long as it comes no nearer.
        allowed = now[motion, near.pair] - ROUNDING_M
        later = ~start
        missing = np.minimum(margin[near.pair], allowed) - distance
        np.maximum.at(lack, motion[later], missing[later])
        # The gravest of each plan is written last.
        order = np.flatnonzero(later)[np.argsort(missing[later], kind="stable")]
        pair[motion[order]] = near.pair[order]
        clearance[motion[order]] = distance[order]
        return _Judged(lack, pair, clearance)

    def _replace(
        self,
        plan: Array,
        bad: Indices,
        limiter: Limiter,
        objects: Objects,
        sampler: Sampler | None,
        old: Array,
    ) -> tuple[Array, NDArray[np.int64]]:
        """Plans that may be sent, and their verdicts, for robots whose own may not."""
        coarse = Sweep(self._model, COARSE * 2 * self._settings.guard_least_m)
        repair = Repair(coarse, self._margin, self._settings, self._limits, limiter.rate_hz)
        repaired = repair.run(plan[bad], limiter.position[bad], objects.of(bad))
        verdicts = np.full(len(bad), VERDICTS.index("repaired"))
        chosen = repaired.copy()
        left = np.flatnonzero(self._danger(repaired, bad, limiter, objects) > 0)
        if len(left) and sampler is not None and self._settings.guard_samples:
            robots = bad[left]
            others = sampler(robots, self._settings.guard_samples)
            found, better = self._best(plan[robots], others, robots, limiter, objects, repair)
            chosen[left[found]] = better[found]
            verdicts[left[found]] = VERDICTS.index("resampled")
            left = left[~found]
        if len(left):
            robots = bad[left]
            before = np.concatenate([limiter.position[robots, None], old[robots]], axis=1)
            rows = np.minimum(np.arange(1, plan.shape[1] + 1), before.shape[1] - 1)
            ways = np.stack([repaired[left], plan[robots], before[:, rows]], axis=1)
            chosen[left] = self._stopped(ways, robots, limiter, objects)
            verdicts[left] = VERDICTS.index("held")
        return chosen, verdicts

    def _best(
        self,
        plan: Array,
        others: Array,
        robots: Indices,
        limiter: Limiter,
        objects: Objects,
        repair: Repair,
    ) -> tuple[NDArray[np.bool_], Array]:
        """The nearest of other plans (B, C, K, J) that may be sent, repaired where none may."""
        number, count = others.shape[:2]
        owner = np.repeat(robots, count)
        flat = others.reshape(-1, *plan.shape[1:])
        danger = self._danger(flat, owner, limiter, objects).reshape(number, count)
        stuck = np.repeat((danger > 0).all(axis=1), count)
        if stuck.any():
            flat = flat.copy()
            held = owner[stuck]
            flat[stuck] = repair.run(flat[stuck], limiter.position[held], objects.of(held))
            again = self._danger(flat[stuck], held, limiter, objects)
            danger[(danger > 0).all(axis=1)] = again.reshape(-1, count)
        candidates = flat.reshape(others.shape)
        apart = np.square(candidates - plan[:, None]).sum(axis=(2, 3))
        best = np.where(danger > 0, np.inf, apart).argmin(axis=1)
        rows = np.arange(number)
        return danger[rows, best] <= 0, candidates[rows, best]

    def _stopped(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Array:
        """Plans that stop: as late as nothing is touched, on the way that leads furthest.

        Args:
            plans: ways to stop on, the best first. Shape (B, W, K, J).
            robots: whose. Shape (B,).
            limiter: brakes.
            objects: of all robots.
        """
        number, ways, rows, joints = plans.shape
        start = np.broadcast_to(limiter.position[robots, None, None], plans[:, :, :1].shape)
        # Row 0 is where the arm is; a stop at row k holds that row from then on. The brakes need
        # time beyond the plan's end, or an arm that is told to stop there runs on.
        full = np.concatenate([start, plans], axis=2)
        stops = np.arange(0, rows + 1, STOPS_APART)
        stopped = full[:, :, np.minimum(stops[:, None], np.arange(1, 2 * rows + 1))]
        flat = stopped.reshape(-1, 2 * rows, joints)
        owner = np.repeat(robots, ways * len(stops))
        danger = self._danger(flat, owner, limiter, objects).reshape(number, ways, -1)
        # The latest stop that is free; of equally late ones the first way; else the least danger.
        late = stops + np.arange(ways)[::-1, None] / ways
        best = np.where(danger > 0, -danger, late).reshape(number, -1).argmax(axis=1)
        chosen: Array = stopped.reshape(number, -1, 2 * rows, joints)[np.arange(number), best]
        return chosen[:, :rows]


@dataclass(frozen=True)
class _Judged:
    """N plans against the clearances that they must keep."""

    lack: Array
    """By how much a plan misses the margin, m; at most 0 where it is free. (N,)."""
    pair: Indices
    """The pair that misses it most. (N,)."""
    clearance: Array
    """Its distance, m. (N,)."""
