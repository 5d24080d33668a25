"""Checks every chunk for collisions before it is sent.

A chunk that keeps its distance is sent unchanged. Any other is repaired, replaced by another sample
of the policy, or replaced by a stop. Uses NumPy only. N robots, K rows of a plan, J joints, P
pairs, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.sweep import Indices, Sweep
from pipeline.collision_geometry import CollisionGeometry
from pipeline.kinematics import JointLimits, KinematicChain
from pipeline.runtime.deployment import Execution
from pipeline.runtime.guard.findings import VERDICTS, Finding, GuardReport
from pipeline.runtime.guard.plan_check import Measured, PlanCheck
from pipeline.runtime.guard.repair import Repair
from pipeline.runtime.limiter import Limiter

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

Array = NDArray[np.float64]
Sampler = Callable[[Indices, int], Array]
"""Maps robots (B,) and a number C to alternative plans, rad, shape (B, C, K, J)."""
ROUNDING_M = 1e-4
"""Tolerance when a motion is compared with the arm's present distance, m."""
COARSE = 3.0
"""Factor on the sample spacing during repair; the result is checked at the full density."""
STOPS_APART = 4
"""Spacing of the rows at which a plan may stop."""


class Guard:
    """Replaces chunks that come too close to an obstacle, the object or the arm itself."""

    def __init__(
        self,
        settings: Execution | ExecutionParams,
        chain: KinematicChain,
        joints: Sequence[str],
        geometry: CollisionGeometry,
        limits: JointLimits,
    ) -> None:
        """Store the settings and build the collision model.

        Args:
            settings: the section `execution`.
            chain: kinematic chain from the base to the TCP.
            joints: joint names in the order of the joint positions.
            geometry: collision shapes and the pairs to check.
            limits: the joint limits.

        Raises:
            CollisionGeometryError: chain, joints and geometry do not match.
        """
        self._settings, self._limits = settings, limits
        self._arm = (chain, joints, geometry, limits)
        self._build(0)
        self.reset(0)

    def _build(self, obstacles: int) -> None:
        """Build the collision model with slots for obstacles."""
        self._model = ClearanceModel(*self._arm, obstacles)
        own = self._model.own
        least = self._settings.guard_least_m
        # Links of the arm only keep the least distance from each other: the robot's design brings
        # them that close, and demonstrations keep no larger distance.
        self._margin = np.where(own, least, self._settings.guard_margin_m)
        # At this spacing, a motion that keeps `least` at every sample cannot touch in between.
        self._check = PlanCheck(Sweep(self._model, 2 * least), np.full(len(own), least))

    def reset(self, robots: int) -> None:
        """Clear all counts and findings.

        Args:
            robots: number of robots, N.
        """
        self._counts = {v: np.zeros(robots, dtype=np.int64) for v in VERDICTS}
        self._last = [Finding("free")] * robots
        self._worst = [Finding("free")] * robots

    def report(self) -> GuardReport:
        """Return what the guard has done since the reset."""
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
        executed: int | None = None,
    ) -> Array:
        """Check plans and replace those that come too close to something.

        A plan is free if it keeps the margin, and if the arm could afterwards stop without
        touching: at the plan's end, or after the rows that will be sent before the next plan. So
        there is always a free way to stop when the next plan comes.

        Args:
            plan: positions to send next, rad. Shape (N, K, J). It is not modified.
            limiter: the limiter that the plan will pass through; it knows the joint positions.
            objects: poses of the objects; None if they are unknown.
            sampler: draws alternative plans for the case that repair fails; None for none.
            old: the rest of the previous plan, rad, shape (N, K', J). It was free, so the arm may
                follow it to a stop.
            robots: robot of each plan, for the report; None for all in order. Shape (N,).
            executed: rows that are sent before the next plan; None for all.

        Returns:
            Plans to send, rad, shape (N, K, J); `plan` itself if every chunk is free.
        """
        number = len(plan)
        if objects is None:
            objects = Objects.unknown(number)
        if objects.obstacles is not None and objects.obstacles.shape[1] > self._model.slots:
            self._build(objects.obstacles.shape[1])
        self._check.executed = executed or plan.shape[1]
        everyone = np.arange(number)
        judged = self._check.measure(plan, everyone, limiter, objects, self._margin)
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

    def _count(self, verdicts: NDArray[np.int64], judged: Measured, robots: Indices) -> None:
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

    def _replace(
        self,
        plan: Array,
        bad: Indices,
        limiter: Limiter,
        objects: Objects,
        sampler: Sampler | None,
        old: Array,
    ) -> tuple[Array, NDArray[np.int64]]:
        """Find safe plans, and their verdicts, for robots whose own plan is unsafe."""
        coarse = Sweep(self._model, COARSE * 2 * self._settings.guard_least_m)
        repair = Repair(coarse, self._margin, self._settings, self._limits, limiter.rate_hz)
        repaired = repair.run(plan[bad], limiter.position[bad], objects.of(bad))
        verdicts = np.full(len(bad), VERDICTS.index("repaired"))
        chosen = repaired.copy()
        left = np.flatnonzero(~self._check.safe(repaired, bad, limiter, objects))
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
        """Choose the safe alternative (B, C, K, J) closest to the plan; repair all if none is safe.

        Returns:
            Whether a safe plan was found, shape (B,), and the chosen plans, shape (B, K, J).
        """
        number, count = others.shape[:2]
        owner = np.repeat(robots, count)
        flat = others.reshape(-1, *plan.shape[1:])
        safe = self._check.safe(flat, owner, limiter, objects).reshape(number, count)
        stuck = ~safe.any(axis=1)
        if stuck.any():
            flat, others = flat.copy(), np.repeat(stuck, count)
            held = owner[others]
            flat[others] = repair.run(flat[others], limiter.position[held], objects.of(held))
            again = self._check.safe(flat[others], held, limiter, objects)
            safe[stuck] = again.reshape(-1, count)
        candidates = flat.reshape(number, count, *plan.shape[1:])
        apart = np.square(candidates - plan[:, None]).sum(axis=(2, 3))
        best = np.where(safe, apart, np.inf).argmin(axis=1)
        rows = np.arange(number)
        return safe[rows, best], candidates[rows, best]

    def _stopped(self, plans: Array, robots: Indices, limiter: Limiter, objects: Objects) -> Array:
        """Find plans that stop as late as possible without a collision.

        Args:
            plans: W paths to stop on, the preferred one first. Shape (B, W, K, J).
            robots: robot of each plan. Shape (B,).
            limiter: simulates the braking.
            objects: poses of all robots' objects.

        Returns:
            Plans, rad. Shape (B, K, J).
        """
        number, ways, rows, joints = plans.shape
        # The old plan ends before the others: its end is one of the stops.
        after = {rows - self._check.executed} | set(range(0, rows + 1, STOPS_APART))
        stops = np.array(sorted(row for row in after if row >= 0))
        owner = np.repeat(robots, ways)
        motions = self._check.stops(plans.reshape(-1, rows, joints), owner, limiter, stops.tolist())
        flat = motions.reshape(-1, *motions.shape[2:])
        lack = self._check.lack(flat, np.repeat(owner, len(stops)), objects)
        danger = lack.reshape(number, ways, -1)
        # The latest free stop wins; ties go to the first path; without one, the least danger wins.
        late = stops + np.arange(ways)[::-1, None] / ways
        best = np.where(danger > 0, -danger, late).reshape(number, -1).argmax(axis=1)
        chosen: Array = flat.reshape(number, -1, *flat.shape[1:])[np.arange(number), best]
        return chosen[:, 1 : rows + 1]
