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
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.params import ExecutionParams
from pipeline.policy.observation import with_obstacles
from pipeline.robot.model import RobotModel, continue_quaternions
from pipeline.robot.simulator import Simulator
from pipeline.runtime.chunking import ChunkExecutor, Indices, Sampler
from pipeline.runtime.execution import ExecutionReport
from pipeline.runtime.guard.carried import other_noise
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.guard.objects import Objects
from pipeline.runtime.pose_filter import ObjectFilter
from pipeline.runtime.session import NOISE

Array = NDArray[np.float64]
Observations = NDArray[np.float32]
"""Shape (N, O, S); where the policy sees obstacles, S includes 12 numbers for each slot."""
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
        executor = ChunkExecutor(
            self.execution, self.model.limits, self.horizon, self.policy_hz, rate, self.guard
        )
        if start is None:
            start = np.tile(self.model.home, (number, 1))
        sensor = Sensor(disturbance, _generators(seed, SENSOR, number))
        object_filter = ObjectFilter(self.execution)
        recorder = _Recorder(self.model, self.layout, start, sensor, object_filter, trials)
        self.simulator.reset(start)
        executor.reset(start)
        history = np.arange(self.n_obs_steps, dtype=np.float64)[::-1] * (rate / self.policy_hz)
        ages = np.asarray(disturbance.latency_steps + history, dtype=np.float64)
        moves_at = disturbance.moves_at_s * rate
        scale = np.float32(self.execution.noise_scale)
        around = trials.padded() if trials.obstacles else None
        visible = trials.padded(self.obstacle_slots) if self.obstacle_slots else None
        shape = (self.horizon, len(self.layout.joints))
        for step in range(steps):
            if moved is not None and step >= moves_at:
                recorder.objects = moved
            wanted = executor.steps_left == 0
            if wanted.any():
                # Each chunk takes the same number of draws, whatever `steps` and the mode are.
                drawn = [
                    noise_rngs[robot].standard_normal(shape, dtype=np.float32)
                    for robot in np.flatnonzero(wanted)
                ]
                seen = recorder.observation(ages)[wanted]
                if visible is not None:
                    seen = with_obstacles(seen, visible[wanted])
                chunks = predict(seen, scale * np.stack(drawn))
                sampler = self._sampler(predict, seen, seed, step)
                objects = replace(recorder.seen_objects, obstacles=around)
                objects = objects.of(np.flatnonzero(wanted))
                executor.add(chunks, robots=wanted, objects=objects, sampler=sampler)
            command = executor.commands(1)
            recorder.add(command, *self.simulator.run(command), self.simulator.motion)
            executor.interrupt(recorder.object_jumped)
        return recorder.rollouts(executor.report())

    def _sampler(self, predict: Predict, seen: Observations, seed: int, step: int) -> Sampler:
        """Return a function that computes alternative chunks for the guard in one call."""

        def sample(robots: Indices, count: int) -> Array:
            shape = (count, self.horizon, len(self.layout.joints))
            noise = other_noise(self.execution, shape, seed, step)
            chunks = predict(
                np.repeat(seen[robots], count, axis=0), np.tile(noise, (len(robots), 1, 1))
            )
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
        recorder = _Recorder(
            self.model, self.layout, start, sensor, ObjectFilter(self.execution), trials
        )
        self.simulator.reset(start)
        recorder.add(commands, *self.simulator.run(commands), self.simulator.motion)
        return recorder.rollouts(None)


def _generators(seed: int, purpose: int, number: int) -> list[np.random.Generator]:
    return [
        np.random.default_rng(np.random.SeedSequence([seed + robot, purpose]))
        for robot in range(number)
    ]


class _Recorder:
    """Records the rollouts and the history that a policy observes."""

    def __init__(
        self,
        model: RobotModel,
        layout: Layout,
        start: Array,
        sensor: Sensor,
        object_filter: ObjectFilter,
        objects: Trials,
    ) -> None:
        self._model, self._layout = model, layout
        self._sensor, self._filter = sensor, object_filter
        self._filter.reset(len(start))
        self.objects = objects
        """Return the present poses of the objects."""
        pose = model.fk(start)
        self._quaternion = pose[:, 3:]
        self._states = [self._observe(start, np.zeros_like(start), pose)]
        self._joint_pos: list[Array] = []
        self._command: list[Array] = []
        self._ee_pose: list[Array] = []
        self._motion = [start[:, None]]

    @property
    def seen_objects(self) -> Objects:
        """Poses of the objects in the last observation."""
        last = self._states[-1]
        return Objects(last["object_pos"], last["object_axis"])

    @property
    def object_jumped(self) -> NDArray[np.bool_]:
        """Whether each robot's last observation revealed a moved object. Shape (N,)."""
        return self._filter.jumped

    def observation(self, ages: Array) -> Observations:
        """Look up past observations. Before the start, the arm is assumed to be at rest.

        Args:
            ages: age of each observation, control steps; fractions are allowed. Shape (O,).

        Returns:
            Observations in the order of `ages`. Shape (N, O, S).
        """
        return np.stack([self._at(len(self._states) - 1 - float(age)) for age in ages], axis=1)

    def _at(self, instant: float) -> Observations:
        instant = max(instant, 0.0)
        before = int(instant + 1e-9)
        share = instant - before
        if share < 1e-9:
            return self._pack(self._states[before])
        first, second = self._states[before], self._states[before + 1]
        # Joints are interpolated between two steps; the object keeps its last observation.
        mixed = {
            key: (1 - share) * first[key] + share * second[key]
            for key in ("joint_pos", "joint_vel")
        }
        pose = self._model.fk(mixed["joint_pos"])
        pose[:, 3:] = continue_quaternions(first["ee_pose"][:, 3:], pose[:, 3:])
        return self._pack({**first, **mixed, "ee_pose": pose})

    def add(self, command: Array, joint_pos: Array, joint_vel: Array, motion: Array) -> None:
        """Append executed control steps, each (N, K, J), and their motion, (N, K · P, J)."""
        pose = self._model.fk(joint_pos)
        for step in range(pose.shape[1]):
            pose[:, step, 3:] = continue_quaternions(self._quaternion, pose[:, step, 3:])
            self._quaternion = pose[:, step, 3:]
            self._states.append(
                self._observe(joint_pos[:, step], joint_vel[:, step], pose[:, step])
            )
        self._joint_pos.append(joint_pos)
        self._command.append(command)
        self._ee_pose.append(pose)
        self._motion.append(motion)

    def rollouts(self, execution: ExecutionReport | None) -> Rollouts:
        """Return the recorded rollouts."""
        parts = (self._joint_pos, self._command, self._ee_pose, self._motion)
        joint_pos, command, ee_pose, motion = (np.concatenate(part, axis=1) for part in parts)
        return Rollouts(joint_pos, command, ee_pose, motion, execution)

    def _observe(self, joint_pos: Array, joint_vel: Array, ee_pose: Array) -> dict[str, Array]:
        seen = self._sensor.observe(self.objects.object_pos, self.objects.object_axis)
        position, axis = self._filter.update(*seen)
        return {
            "joint_pos": joint_pos,
            "joint_vel": joint_vel,
            "ee_pose": ee_pose,
            "object_pos": position,
            "object_axis": axis,
        }

    def _pack(self, values: dict[str, Array]) -> Observations:
        return self._layout.pack({field.kind: values[field.kind] for field in self._layout.state})
