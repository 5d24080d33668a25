"""Turns chunks into the commands that are sent at each control step, for N robots at once.

Uses NumPy only, so that evaluation and a robot run the same code, and depends on neither networks
nor simulators. N robots, H steps of a chunk at the policy's rate, K control steps, J joints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.objects import Objects
from pipeline.errors import PipelineError
from pipeline.interpolation import differentiate, hermite
from pipeline.kinematics import JointLimits
from pipeline.runtime.deployment import Execution
from pipeline.runtime.execution import ExecutionReport
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.limiter import make_limiter

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]
Sampler = Callable[[Indices, int], NDArray[np.floating]]
"""Maps indices of chunks (B,) and a number C to alternative chunks, rad, shape (B, C, H, J)."""


class ExecutionError(PipelineError):
    """Chunks and parameters do not match."""


class ChunkExecutor:
    """Computes the commands for each robot at each control step. The robots are independent.

    Modes (params.yaml, `execution.mode`): `chunk` executes `execute_steps` rows of a chunk, then
    starts the next one. `blend` also cross-fades from the old chunk's remaining rows to the new
    chunk. `ensemble` takes a chunk at every step and averages all chunks that cover the step.

    Example:
        executor.reset(joint_pos)
        while running:
            wanted = executor.steps_left == 0
            if wanted.any():
                chunk = policy.predict(observation[wanted], noise[wanted])
                executor.add(chunk, robots=wanted)
            send(executor.commands(1))
    """

    def __init__(
        self,
        params: Execution | ExecutionParams,
        limits: JointLimits,
        horizon: int,
        policy_hz: float,
        control_hz: float | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Store rates and limits.

        Args:
            params: the section `execution`.
            limits: the joint limits.
            horizon: steps of a chunk, H.
            policy_hz: rows of a chunk per second.
            control_hz: commands per second; None for the policy's own rate. Step counts in
                `params` refer to the policy's rate and keep their duration.
            guard: checks chunks before they are sent; None for no checks.

        Raises:
            ExecutionError: a chunk is too short for `execute_steps` and `blend_steps`.
        """
        needed = params.execute_steps + (params.blend_steps if params.mode == "blend" else 0)
        if params.mode != "ensemble" and needed > horizon:
            raise ExecutionError(
                f"execution.execute_steps {params.execute_steps} and blend_steps "
                f"{params.blend_steps} (mode {params.mode}) need {needed} steps of a chunk, but "
                f"the policy predicts {horizon}; lower them"
            )
        self._params, self._horizon = params, horizon
        self._policy_hz, self._control_hz = policy_hz, control_hz or policy_hz
        self._execute = 1 if params.mode == "ensemble" else self._steps(params.execute_steps)
        self._blend = self._steps(params.blend_steps) if params.mode == "blend" else 0
        self._joints = len(limits.lower)
        sample = resample_chunk(np.zeros((1, horizon, 1)), policy_hz, self._control_hz)
        self._rows = max(sample.shape[1], 1)
        self._limiter = make_limiter(limits, self._control_hz)
        self._guard = guard
        self.reset(np.zeros((0, self._joints)))

    def _steps(self, policy_steps: int) -> int:
        return max(round(policy_steps * self._control_hz / self._policy_hz), min(policy_steps, 1))

    def reset(self, joint_pos: Array) -> None:
        """Clear all chunks and counts and start at rest.

        Args:
            joint_pos: present joint positions as commanded, rad. Shape (N, J).

        Raises:
            ExecutionError: the shape is wrong.
        """
        joint_pos = np.asarray(joint_pos, dtype=np.float64)
        if joint_pos.ndim != 2 or joint_pos.shape[1] != self._joints:
            raise ExecutionError(
                f"reset with joint positions of shape {joint_pos.shape}, expected "
                f"(N, {self._joints})"
            )
        number = len(joint_pos)
        self._limiter.reset(joint_pos)
        if self._guard is not None:
            self._guard.reset(number)
        self._plan: Array = np.zeros((number, self._rows, self._joints))
        self._next = np.full(number, self._rows)  # row of the plan to send next
        self._hold = joint_pos.copy()
        self._chunks: list[tuple[Array, Mask]] = []
        self._executed, self._starved = np.full(number, self._execute), 0
        self._fresh = np.zeros(number, dtype=np.bool_)
        self._border: list[Mask] = []

    @property
    def steps_left(self) -> NDArray[np.int64]:
        """Control steps until each robot needs its next chunk; 0 if it needs one now. (N,)."""
        return np.asarray(np.maximum(self._execute - self._executed, 0))

    def add(
        self,
        chunk: NDArray[np.floating],
        robots: Mask | None = None,
        objects: Objects | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """Start new chunks on some or all robots.

        Args:
            chunk: joint positions, rad, shape (M, H, J), one chunk for each selected robot. Row j
                is due (j + 1) policy steps after the observation.
            robots: mask that selects M of the N robots; None for all. Shape (N,).
            objects: poses of their objects for the guard; None if they are unknown.
            sampler: draws alternative chunks for the guard; None for none.

        Raises:
            ExecutionError: the shape is wrong, or a number is not finite.
        """
        mask = np.ones(len(self._hold), np.bool_) if robots is None else robots
        which = np.flatnonzero(mask)
        wanted: Array = np.asarray(chunk, dtype=np.float64)
        expected = (len(which), self._horizon, self._joints)
        if wanted.shape != expected:
            raise ExecutionError(f"a chunk has shape {wanted.shape}, expected {expected}")
        if not np.isfinite(wanted).all():
            raise ExecutionError("a chunk contains a number that is not finite; expected rad")
        rows = resample_chunk(wanted, self._policy_hz, self._control_hz)
        ensemble = self._params.mode == "ensemble"
        rows = self._ensemble(rows, mask) if ensemble else self._fade(rows, which)
        if self._guard is not None:

            def others(chunks: Indices, count: int) -> Array:
                assert sampler is not None
                flat = np.asarray(sampler(chunks, count), float).reshape(-1, *wanted.shape[1:])
                made = resample_chunk(flat, self._policy_hz, self._control_hz)
                faded = self._fade(made, np.repeat(which[chunks], count))
                return faded.reshape(len(chunks), count, *faded.shape[1:])

            made = None if sampler is None else others
            trial = self._limiter.part(which)
            rows = self._guard.review(
                rows, trial, objects, made, self.rest(which), which, self._execute
            )
        self._plan[which] = rows
        self._next[which], self._executed[which], self._fresh[which] = 0, 0, True

    def interrupt(self, robots: Mask | None = None) -> None:
        """Drop the rest of the running chunks, because the scene has changed.

        The next chunk is needed at once. It is not blended with the old one; only the joint limits
        smooth the transition.

        Args:
            robots: mask that selects the robots; None for all. Shape (N,).
        """
        mask = np.ones(len(self._hold), np.bool_) if robots is None else robots
        self._next[mask], self._executed[mask] = self._rows, self._execute
        self._chunks = [(old, valid & ~mask) for old, valid in self._chunks]

    def rest(self, which: Indices) -> Array:
        """Return the remaining rows of M plans, with the last row held. Shape (M, rows, J)."""
        index = self._next[which, None] + np.arange(self._rows)
        rest = self._plan[which[:, None], np.minimum(index, self._rows - 1)]
        # A plan that has ended or was dropped is replaced by the last command.
        over = (self._next[which] >= self._rows)[:, None, None]
        return np.where(over, self._hold[which, None], rest)

    def _fade(self, rows: Array, which: NDArray[np.int64]) -> Array:
        """Cross-fade linearly from the old plans' remaining rows over `blend_steps`."""
        step = np.arange(rows.shape[1])
        index = self._next[which, None] + step
        old = self._plan[which[:, None], np.minimum(index, self._rows - 1)]
        fading = (index < self._rows) & (step < self._blend)
        share = np.where(fading, (step + 1) / (self._blend + 1), 1.0)[..., None]
        return np.asarray((1 - share) * old + share * rows)

    def _ensemble(self, rows: Array, mask: Mask) -> Array:
        """Average all chunks that cover a step with weights exp(−decay · i); the oldest has i = 0.

        The stored chunks begin at the next step to send. Source: temporal ensembling of ACT (Zhao
        et al. 2023, section IV-B).
        """
        newest = np.zeros((len(mask), *rows.shape[1:]))
        newest[mask] = rows
        self._chunks = [(old, valid) for old, valid in self._chunks if old.shape[1] and valid.any()]
        self._chunks.append((newest, mask.copy()))
        average = np.empty_like(rows)
        for column in range(rows.shape[1]):
            # The chunks that cover this step, oldest first.
            reaching = [(old, valid) for old, valid in self._chunks if old.shape[1] > column]
            values = np.stack([old[mask, column] for old, _ in reaching])
            valid = np.stack([valid[mask] for _, valid in reaching])
            rank = np.cumsum(valid, axis=0) - 1
            weight = np.exp(-self._params.ensemble_decay * rank) * valid
            average[:, column] = np.einsum("cn,cnj->nj", weight / weight.sum(axis=0), values)
        return average

    def commands(self, count: int) -> Array:
        """Compute the next commands, within all limits.

        `count` may exceed `steps_left` while a new chunk is late: the old chunk is then followed to
        its end, and its last row is held.

        Args:
            count: number of control steps, K.

        Returns:
            Joint positions, rad. Shape (N, K, J).
        """
        sent = np.empty((len(self._hold), count, self._joints))
        robots, last = np.arange(len(self._hold)), self._rows - 1
        for step in range(count):
            left = (self._rows - self._next)[:, None]
            self._starved += int((left == 0).sum())
            row = self._plan[robots, np.minimum(self._next, last)]
            after = self._plan[robots, np.minimum(self._next + 1, last)]
            target = np.where(left > 0, row, self._hold)
            # Past its last row a plan is extrapolated linearly; without rows the robot holds.
            following = np.where(left > 1, after, 2 * target - self._hold)
            sent[:, step] = self._limiter.step(target, following)
            self._hold = target
            self._next = np.minimum(self._next + 1, self._rows)
            self._chunks = [(old[:, 1:], valid) for old, valid in self._chunks]
            self._border.append(self._fresh)
            self._fresh = np.zeros_like(self._fresh)
        self._executed += count
        return sent

    def report(self) -> ExecutionReport:
        """Return what was sent, and what the limits changed, since the reset."""
        number = len(self._hold)
        return ExecutionReport(
            commands=number * len(self._border) * self._joints,
            clipped=dict(self._limiter.clipped),
            largest_change_rad=self._limiter.largest_change,
            starved_steps=self._starved,
            border=np.array(self._border, dtype=np.bool_).reshape(-1, number).T,
            guard=None if self._guard is None else self._guard.report(),
        )


def resample_chunk(chunk: Array, policy_hz: float, control_hz: float) -> Array:
    """Resample chunks to another rate with cubic Hermite interpolation.

    The chunk is extrapolated linearly backwards to the time of the observation, so that the times
    before its first row are covered too.

    Args:
        chunk: joint positions, rad; row j is at time (j + 1) / policy_hz. Shape (N, H, J).
        policy_hz: rows per second of the chunk.
        control_hz: rows per second of the result.

    Returns:
        Joint positions, rad; row i is at time (i + 1) / control_hz. The result has as many rows as
        the chunk covers. Shape (N, H', J).
    """
    number, horizon, joints = chunk.shape
    if policy_hz == control_hz or horizon == 1:
        return chunk
    flat = np.moveaxis(chunk, 1, 0).reshape(horizon, -1)
    rows = np.concatenate([2 * flat[:1] - flat[1:2], flat])
    times = np.arange(horizon + 1) / policy_hz
    wanted = np.arange(1, int(horizon * control_hz / policy_hz + 1e-9) + 1) / control_hz
    values, _ = hermite(times, rows, differentiate(times, rows), wanted)
    return np.moveaxis(values.reshape(len(wanted), number, joints), 0, 1)
