"""The closed loop: observe, predict a chunk, execute some of it on the simulated servo, repeat.

The policy is a function from observations and noise to chunks, whatever runs it.
N rollouts at once, T control steps, H steps of a chunk, J joints, O observations, S state numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.disturbance import CALM, Disturbance, Sensor
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.params import ExecutionParams
from pipeline.robot.model import RobotModel, continue_quaternions
from pipeline.robot.simulator import Simulator
from pipeline.runtime.chunking import ChunkExecutor, ExecutionReport, Indices, Sampler
from pipeline.runtime.guard.carried import other_noise
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.guard.sweep import Objects
from pipeline.runtime.pose_filter import ObjectFilter
from pipeline.runtime.session import NOISE

Array = NDArray[np.float64]
Observations = NDArray[np.float32]
Predict = Callable[[Observations, NDArray[np.float32]], Array]
"""Observations (N, O, S) and noise (N, H, J) to joint positions (N, H, J), rad."""


@dataclass(frozen=True)
class Rollouts:
    """What the arms did. Sample k is the end of control step k."""

    joint_pos: Array
    """Measured, rad. Shape (N, T, J)."""
    command: Array
    """Sent to the servo, rad. Shape (N, T, J)."""
    ee_pose: Array
    """TCP, m and quaternion xyzw. Shape (N, T, 7)."""
    execution: ExecutionReport | None = None
    """What became of the policy's chunks; None for commands that were fixed beforehand."""


@dataclass(frozen=True)
class Loop:
    """Everything of the closed loop but the policy."""

    simulator: Simulator
    """Its rate is the control rate."""
    model: RobotModel
    layout: Layout
    horizon: int
    n_obs_steps: int
    execution: ExecutionParams
    policy_hz: float
    """Steps of a chunk and observations a second."""
    guard: Guard | None = None
    """Checks what is sent; None for none."""

    def run(
        self,
        predict: Predict,
        trials: Trials,
        steps: int,
        seed: int,
        disturbance: Disturbance = CALM,
        start: Array | None = None,
        moved: Trials | None = None,
    ) -> Rollouts:
        """Roll a policy out on every trial at once.

        Args:
            predict: the policy.
            trials: N objects.
            steps: control steps, T.
            seed: of the policy's noise and of the disturbance.
            disturbance: what the sensors and the clock do to the policy.
            start: where the arms start, rad, shape (N, J); None for home.
            moved: where the objects lie from `disturbance.moves_at_s` on.

        Returns:
            The rollouts.
        """
        rng = np.random.default_rng(np.random.SeedSequence([seed, NOISE]))
        sensor_rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5E450]))
        rate = self.simulator.rate_hz
        executor = ChunkExecutor(
            self.execution, self.model.limits, self.horizon, self.policy_hz, rate, self.guard
        )
        if start is None:
            start = np.tile(self.model.home, (len(trials), 1))
        sensor = Sensor(disturbance, len(trials), sensor_rng)
        object_filter = ObjectFilter(self.execution)
        recorder = _Recorder(self.model, self.layout, start, sensor, object_filter, trials)
        self.simulator.reset(start)
        executor.reset(start)
        history = np.arange(self.n_obs_steps, dtype=np.float64)[::-1] * (rate / self.policy_hz)
        ages = np.asarray(disturbance.latency_steps + history, dtype=np.float64)
        moves_at = disturbance.moves_at_s * rate
        scale = np.float32(self.execution.noise_scale)
        for step in range(steps):
            if moved is not None and step >= moves_at:
                recorder.objects = moved
            if executor.steps_left == 0:
                # A fixed number of draws each time: neither `steps` nor the mode shifts them.
                shape = (len(trials), self.horizon, len(self.layout.joints))
                noise = scale * rng.standard_normal(shape, dtype=np.float32)
                seen = recorder.observation(ages)
                sampler = self._sampler(predict, seen, seed, step)
                executor.add(predict(seen, noise), 0, recorder.seen_objects, sampler)
            command = executor.commands(1)
            recorder.add(command, *self.simulator.run(command))
            if recorder.object_jumped:
                executor.interrupt()
        return recorder.rollouts(executor.report())

    def _sampler(self, predict: Predict, seen: Observations, seed: int, step: int) -> Sampler:
        """Other chunks for the guard, all of a call computed at once."""

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
            commands: rad. Shape (N, T, J).
            trials: N objects.
        """
        start = np.tile(self.model.home, (len(trials), 1))
        sensor = Sensor(CALM, len(trials), np.random.default_rng(0))
        recorder = _Recorder(
            self.model, self.layout, start, sensor, ObjectFilter(self.execution), trials
        )
        self.simulator.reset(start)
        recorder.add(commands, *self.simulator.run(commands))
        return recorder.rollouts(None)


class _Recorder:
    """Grows the rollouts and keeps the history that a policy observes."""

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
        """Where the objects are now."""
        pose = model.fk(start)
        self._quaternion = pose[:, 3:]
        self._states = [self._observe(start, np.zeros_like(start), pose)]
        self._joint_pos: list[Array] = []
        self._command: list[Array] = []
        self._ee_pose: list[Array] = []

    @property
    def seen_objects(self) -> Objects:
        """Where the objects are, as the last observation shows them."""
        last = self._states[-1]
        return Objects(last["object_pos"], last["object_axis"])

    @property
    def object_jumped(self) -> bool:
        """Whether the last observation shows an object in another place."""
        return bool(self._filter.jumped.any())

    def observation(self, ages: Array) -> Observations:
        """Observations of the past; before the first one the arm stood there as long as one likes.

        Args:
            ages: how long ago each was made, control steps, fractions allowed. Shape (O,).

        Returns:
            In the order of `ages`. Shape (N, O, S).
        """
        return np.stack([self._at(len(self._states) - 1 - float(age)) for age in ages], axis=1)

    def _at(self, instant: float) -> Observations:
        instant = max(instant, 0.0)
        before = int(instant + 1e-9)
        share = instant - before
        if share < 1e-9:
            return self._pack(self._states[before])
        first, second = self._states[before], self._states[before + 1]
        # Joints run on between two steps; the object's last observation stands.
        mixed = {
            key: (1 - share) * first[key] + share * second[key]
            for key in ("joint_pos", "joint_vel")
        }
        pose = self._model.fk(mixed["joint_pos"])
        pose[:, 3:] = continue_quaternions(first["ee_pose"][:, 3:], pose[:, 3:])
        return self._pack({**first, **mixed, "ee_pose": pose})

    def add(self, command: Array, joint_pos: Array, joint_vel: Array) -> None:
        """Append executed control steps, each of shape (N, K, J)."""
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

    def rollouts(self, execution: ExecutionReport | None) -> Rollouts:
        """What was recorded so far."""
        parts = (self._joint_pos, self._command, self._ee_pose)
        joint_pos, command, ee_pose = (np.concatenate(part, axis=1) for part in parts)
        return Rollouts(joint_pos, command, ee_pose, execution)

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
