"""Runs the closed loop: observe, predict a chunk, execute part of it in simulation, repeat.

A policy is any function that maps observations and noise to chunks.
N rollouts at once, T control steps, H steps of a chunk, J joints, O observations, S state numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.disturbance import UNDISTURBED, Disturbance, Sensor
from pipeline.evaluation.recorder import Observations, Recorder
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.params import ExecutionParams
from pipeline.policy.observation import with_obstacles
from pipeline.robot.model import RobotModel
from pipeline.robot.simulator import Simulator
from pipeline.runtime.chunking import ChunkExecutor, Indices, Sampler
from pipeline.runtime.execution import ExecutionReport
from pipeline.runtime.guard.carried import other_noise
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.pose_filter import ObjectFilter
from pipeline.runtime.rehearsal import Rehearsal
from pipeline.runtime.session import NOISE

Array = NDArray[np.float64]
SENSOR = 0x5E450
"""Separates the seed of the sensor's errors from the seed of the policy's noise."""
Predict = Callable[[Observations, NDArray[np.float32]], Array]
"""Maps observations (N, O, S) and noise (N, H, J) to joint positions (N, H, J), rad."""


@dataclass(frozen=True)
class Rollouts:
    """Recorded motion of the arms. Sample k is the end of control step k."""

    joint_pos: Array
    """Measured joint positions, rad. Shape (N, T, J)."""
    command: Array
    """Joint positions sent to the servo, rad. Shape (N, T, J)."""
    ee_pose: Array
    """TCP poses, m and quaternion xyzw. Shape (N, T, 7)."""
    motion: Array
    """Joint positions at the start and at each of the P physics steps of a control step, rad; used
    for contacts. Shape (N, T · P + 1, J)."""
    execution: ExecutionReport | None = None
    """Report on the execution of the chunks; None for fixed commands."""
    held: NDArray[np.bool_] | None = None
    """Whether the guard held the robot's present chunk, at each control step; None without a guard.
    Shape (N, T)."""

    @property
    def physics_steps(self) -> int:
        """Physics steps per control step, P."""
        return int((self.motion.shape[1] - 1) // self.joint_pos.shape[1])

    def first(self, number: int) -> Rollouts:
        """Select the first rollouts; the execution report is dropped, as it covers all rollouts.

        Args:
            number: number of rollouts; all if there are fewer.
        """
        chosen = slice(number)
        return self._part(chosen, slice(None), self.motion[chosen])

    def repeated(self, number: int) -> Rollouts:
        """Repeat a single rollout without another simulation, and without its report.

        Args:
            number: number of rollouts of the result.
        """
        joint_pos, command, ee_pose, motion = (
            np.broadcast_to(part, (number, *part.shape[1:]))
            for part in (self.joint_pos, self.command, self.ee_pose, self.motion)
        )
        return Rollouts(joint_pos, command, ee_pose, motion)

    def split(self, step: int) -> tuple[Rollouts, Rollouts]:
        """Split the rollouts in time.

        Args:
            step: first control step of the second part.
        """
        every, turn = slice(None), step * self.physics_steps
        return (
            self._part(every, slice(step), self.motion[:, : turn + 1]),
            self._part(every, slice(step, None), self.motion[:, turn:]),
        )

    def _part(self, robots: slice, steps: slice, motion: Array) -> Rollouts:
        part = robots, steps
        return Rollouts(self.joint_pos[part], self.command[part], self.ee_pose[part], motion)


@dataclass(frozen=True)
class Loop:
    """The closed loop, except for the policy."""

    simulator: Simulator
    """The simulator; its rate is the control rate."""
    model: RobotModel
    layout: Layout
    horizon: int
    n_obs_steps: int
    execution: ExecutionParams
    policy_hz: float
    """Steps of a chunk, and observations, per second."""
    guard: Guard | None = None
    """Checks chunks before they are sent; None for no checks."""
    obstacle_slots: int = 0
    """Obstacles that the policy can see, K; 0 if it sees none."""
    rehearsal: Rehearsal | None = None
    """Computes motions ahead; None for none."""

    def run(
        self,
        predict: Predict,
        trials: Trials,
        steps: int,
        seed: int,
        disturbance: Disturbance = UNDISTURBED,
        start: Array | None = None,
        moved: Trials | None = None,
    ) -> Rollouts:
        """Roll out a policy on all trials at once.

        Args:
            predict: the policy.
            trials: N objects.
            steps: number of control steps, T.
            seed: seed of the policy's noise and of the disturbance. Robot k uses `seed + k`, so
                that a rollout does not depend on the others.
            disturbance: sensor errors, latency and the time of a move.
            start: start positions of the arms, rad, shape (N, J); None for home.
            moved: poses of the objects from `disturbance.moves_at_s` on.

        Returns:
            The rollouts.
        """
        number = len(trials)
        noise_rngs = _generators(seed, NOISE, number)
        rate = self.simulator.rate_hz
        if start is None:
            start = np.tile(self.model.home, (number, 1))
        executor = self._reset(start)
        sensor = Sensor(disturbance, _generators(seed, SENSOR, number))
        object_filter = ObjectFilter(self.execution)
        recorder = Recorder(self.model, self.layout, start, sensor, object_filter, trials)
        history = np.arange(self.n_obs_steps, dtype=np.float64)[::-1] * (rate / self.policy_hz)
        ages = np.asarray(disturbance.latency_steps + history, dtype=np.float64)
        moves_at = disturbance.moves_at_s * rate
        around = trials.padded() if trials.obstacles else None
        visible = trials.padded(self.obstacle_slots) if self.obstacle_slots else None
        held, holds = [], self._held()
        for step in range(steps):
            if moved is not None and step >= moves_at:
                recorder.objects = moved
            wanted = executor.steps_left == 0
            if wanted.any():
                robots = np.flatnonzero(wanted)
                seen = recorder.observation(ages)[wanted]
                if visible is not None:
                    seen = with_obstacles(seen, visible[wanted])
                objects = replace(recorder.seen_objects, obstacles=around).of(robots)
                noise = self._noise([noise_rngs[robot] for robot in robots])
                if self.rehearsal is not None:
                    seeds = seed + robots
                    noise = self.rehearsal.noise(predict, seen, objects, robots, seeds, step)
                chunks = predict(seen, noise)
                sampler = self._sampler(predict, seen, seed + robots, step)
                executor.add(chunks, robots=wanted, objects=objects, sampler=sampler)
                holds = self._held()
            held.append(holds)
            command = executor.commands(1)
            recorder.add(command, *self.simulator.run(command), self.simulator.motion)
            executor.interrupt(recorder.object_jumped)
        mask = None if self.guard is None else np.array(held, dtype=np.bool_).T
        redirected = None if self.rehearsal is None else self.rehearsal.redirected
        report = replace(executor.report(), redirected=redirected)
        return Rollouts(*recorder.motion(), report, mask)

    def _reset(self, start: Array) -> ChunkExecutor:
        """Put the arms at rest at their starts, rad, (N, J); returns what executes their chunks."""
        executor = ChunkExecutor(
            self.execution, self.model.limits, self.horizon, self.policy_hz,
            self.simulator.rate_hz, self.guard,
        )  # fmt: skip
        self.simulator.reset(start)
        executor.reset(start)
        if self.rehearsal is not None:
            self.rehearsal.reset(len(start))
        return executor

    def _noise(self, generators: list[np.random.Generator]) -> NDArray[np.float32]:
        """Draw a chunk's noise from each generator.

        Each chunk takes the same number of draws, whatever the steps and the mode are.
        """
        shape = (self.horizon, len(self.layout.joints))
        drawn = [generator.standard_normal(shape, dtype=np.float32) for generator in generators]
        return np.float32(self.execution.noise_scale) * np.stack(drawn)

    def _held(self) -> list[bool]:
        """Whether the guard holds each robot."""
        last = () if self.guard is None else self.guard.report().last
        return [finding.verdict == "held" for finding in last]

    def _sampler(self, predict: Predict, seen: Observations, seeds: Indices, step: int) -> Sampler:
        """Return a function that computes alternative chunks for the guard in one call."""

        def sample(robots: Indices, count: int) -> Array:
            shape = (count, self.horizon, len(self.layout.joints))
            noise = [other_noise(self.execution, shape, seed, step) for seed in seeds[robots]]
            chunks = predict(np.repeat(seen[robots], count, axis=0), np.concatenate(noise))
            return chunks.reshape(len(robots), *shape)

        return sample

    def replay(self, commands: Array, trials: Trials) -> Rollouts:
        """Send fixed commands from home instead of a policy's.

        Args:
            commands: joint positions, rad. Shape (N, T, J).
            trials: N objects.
        """
        start = np.tile(self.model.home, (len(trials), 1))
        sensor = Sensor(UNDISTURBED, _generators(0, SENSOR, len(trials)))
        recorder = Recorder(
            self.model, self.layout, start, sensor, ObjectFilter(self.execution), trials
        )
        self.simulator.reset(start)
        recorder.add(commands, *self.simulator.run(commands), self.simulator.motion)
        return Rollouts(*recorder.motion())


def _generators(seed: int, purpose: int, number: int) -> list[np.random.Generator]:
    return [
        np.random.default_rng(np.random.SeedSequence([seed + robot, purpose]))
        for robot in range(number)
    ]
