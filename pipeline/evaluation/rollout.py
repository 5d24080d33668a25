"""The closed loop: observe, predict a chunk, execute some of it on the simulated servo, repeat.

The policy is a function from observations and noise to chunks, whatever runs it.
N rollouts at once, T control steps, H steps of a chunk, J joints, O observations, S state numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import RobotModel, continue_quaternions
from pipeline.robot.sim import Simulator

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


@dataclass(frozen=True)
class Loop:
    """Everything of the closed loop but the policy."""

    simulator: Simulator
    model: RobotModel
    layout: Layout
    horizon: int
    n_obs_steps: int
    execute_steps: int

    def run(self, predict: Predict, trials: Trials, steps: int, seed: int) -> Rollouts:
        """Roll a policy out from home on every trial at once.

        Args:
            predict: the policy.
            trials: N objects.
            steps: control steps, T.
            seed: of the policy's noise.

        Returns:
            The rollouts.
        """
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0x4015E]))
        recorder = _Recorder(self.model, self.layout, trials, self.n_obs_steps)
        self.simulator.reset(recorder.home)
        done = 0
        while done < steps:
            # A fixed number of draws each time: neither `steps` nor `execute_steps` shifts them.
            shape = (len(trials), self.horizon, len(self.layout.joints))
            noise = rng.standard_normal(shape, dtype=np.float32)
            count = min(self.execute_steps, steps - done)
            command = predict(recorder.observation(), noise)[:, :count].astype(np.float64)
            recorder.add(command, *self.simulator.run(command))
            done += count
        return recorder.rollouts()

    def replay(self, commands: Array, trials: Trials) -> Rollouts:
        """Send fixed commands instead of a policy's.

        Args:
            commands: rad. Shape (N, T, J).
            trials: N objects.
        """
        recorder = _Recorder(self.model, self.layout, trials, self.n_obs_steps)
        self.simulator.reset(recorder.home)
        recorder.add(commands, *self.simulator.run(commands))
        return recorder.rollouts()


class _Recorder:
    """Grows the rollouts and keeps the history that a policy observes."""

    def __init__(self, model: RobotModel, layout: Layout, trials: Trials, n_obs_steps: int) -> None:
        self._model, self._layout, self._trials = model, layout, trials
        self.home = np.tile(model.home, (len(trials), 1))
        pose = model.fk(self.home)
        first = self._pack(self.home, np.zeros_like(self.home), pose)
        self._history = [first] * n_obs_steps
        self._quaternion = pose[:, 3:]
        self._joint_pos: list[Array] = []
        self._command: list[Array] = []
        self._ee_pose: list[Array] = []

    def observation(self) -> Observations:
        """The last observations, oldest first. Shape (N, O, S)."""
        return np.stack(self._history, axis=1)

    def add(self, command: Array, joint_pos: Array, joint_vel: Array) -> None:
        """Append executed control steps, each of shape (N, K, J)."""
        pose = self._model.fk(joint_pos)
        for step in range(pose.shape[1]):
            pose[:, step, 3:] = continue_quaternions(self._quaternion, pose[:, step, 3:])
            self._quaternion = pose[:, step, 3:]
            state = self._pack(joint_pos[:, step], joint_vel[:, step], pose[:, step])
            self._history = [*self._history[1:], state]
        self._joint_pos.append(joint_pos)
        self._command.append(command)
        self._ee_pose.append(pose)

    def rollouts(self) -> Rollouts:
        """What was recorded so far."""
        parts = (self._joint_pos, self._command, self._ee_pose)
        return Rollouts(*(np.concatenate(part, axis=1) for part in parts))

    def _pack(self, joint_pos: Array, joint_vel: Array, ee_pose: Array) -> Observations:
        values = {
            "joint_pos": joint_pos,
            "joint_vel": joint_vel,
            "ee_pose": ee_pose,
            "object_pos": self._trials.object_pos,
            "object_axis": self._trials.object_axis,
        }
        return self._layout.pack({field.kind: values[field.kind] for field in self._layout.state})


def collided(checker: CollisionChecker, rollouts: Rollouts, trials: Trials) -> NDArray[np.bool_]:
    """Which rollouts touched the table, the object or the arm itself at any control step.

    Args:
        checker: the planner's own collision checks.
        rollouts: N rollouts.
        trials: their objects.

    Returns:
        Shape (N,).
    """
    return np.array(
        [
            checker.any_collision(path, position, axis) > 0
            for path, position, axis in zip(
                rollouts.joint_pos, trials.object_pos, trials.object_axis, strict=True
            )
        ]
    )
