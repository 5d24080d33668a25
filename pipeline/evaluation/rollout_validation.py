"""Runs a small closed loop during training, on the objects of the validation episodes.

The expert reached these objects, and training does not see them; the final evaluation draws others.
So no planner is needed. It also checks that the data set matches the arm and the task in
params.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.store import Dataset
from pipeline.errors import PipelineError
from pipeline.evaluation import metrics
from pipeline.evaluation.judge import judge
from pipeline.evaluation.rollout import Loop, Predict
from pipeline.evaluation.trials import Trials
from pipeline.params import ExecutionParams, Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator
from pipeline.runtime.guard.guard import Guard
from pipeline.training.selection import Score

Array = NDArray[np.float64]

NEEDED = ("joint_pos", "object_pos", "object_axis")
LIMIT_TOLERANCE_RAD = 0.01
"""Tolerance of a recorded start at the arm's limits, since recordings are rounded."""


class RolloutValidationError(PipelineError):
    """The data set cannot be rolled out with the arm and the task of params.yaml."""


@dataclass(frozen=True)
class RolloutValidation:
    """Rolls out a policy from the starts of validation episodes towards their objects."""

    loop: Loop
    checker: CollisionChecker
    trials: Trials
    start: Array
    """Joint positions at the start, rad. Shape (N, J)."""
    params: Params

    @classmethod
    def from_dataset(cls, dataset: Dataset, params: Params) -> RolloutValidation:
        """Choose the episodes and build the simulator.

        Chunks are executed with fixed settings, scaled to the horizon, because this judges the
        weights only: a change of section execution must not require a new training. The guard runs
        where the data set has obstacles.

        Args:
            dataset: data set with validation episodes.
            params: sections robot, task, policy and train.

        Raises:
            RolloutValidationError: the data set has no rate or lacks fields, its episodes start
                outside the joint limits, or they do not end at the grasp.
        """
        _require_fields(dataset)
        if dataset.rate_hz is None:
            raise RolloutValidationError(
                "its attributes have no rate_hz, so a step has no duration"
            )
        model = RobotModel.from_params(params.robot)
        trials, start, end = _episodes(dataset, params)
        _require_limits(model, start)
        _require_grasp(model, trials, end, params)
        simulator = Simulator(params.robot, dataset.rate_hz, params.train.rollout_physics_steps)
        horizon = params.policy.horizon
        execution = ExecutionParams(
            mode="blend", execute_steps=max(1, 3 * horizon // 8), blend_steps=horizon // 2,
            ensemble_decay=0.0, noise_scale=0.0, object_window=1, object_jump_m=1.0,
            object_jump_deg=180.0, object_jump_observations=1, guard="repair",
            guard_margin_m=0.015, guard_least_m=0.005,
            guard_turns=10, guard_turn_rad=0.05, guard_smooth_s=0.067, guard_samples=0,
            guard_noise_scale=1.0, rehearsals=0, fallback="none", fallback_after_s=1.0,
        )  # fmt: skip
        guard, slots = None, 0
        if dataset.max_obstacles:
            # Without the guard, contacts would decide here and say little about what it leaves.
            shapes = collision_geometry(params.robot, params.task)
            guard = Guard(execution, kinematic_chain(model), model.joints, shapes, model.limits)
            slots = params.policy.max_obstacles
        loop = Loop(
            simulator, model, dataset.layout, horizon, params.policy.n_obs_steps, execution,
            dataset.rate_hz, guard, slots,
        )  # fmt: skip
        return cls(loop, CollisionChecker(params.robot, params.task), trials, start, params)

    def score(self, predict: Predict) -> Score:
        """Roll out a policy and judge it.

        Args:
            predict: the policy; every call of `score` uses the same objects and noise.
        """
        train, task = self.params.train, self.params.task
        steps = self.trials.steps(self.loop.policy_hz, train.rollout_least_steps)
        rollouts = self.loop.run(predict, self.trials, steps, train.rollout_seed, start=self.start)
        summary = judge(rollouts, self.trials, self.checker, task).summary
        return Score(
            summary["success_collision_free"], summary["error_mm_median"], len(self.trials)
        )


def _require_fields(dataset: Dataset) -> None:
    missing = [kind for kind in NEEDED if not dataset.layout.has(kind)]
    if missing:
        raise RolloutValidationError(f"its state has no {', '.join(missing)}")


def _episodes(dataset: Dataset, params: Params) -> tuple[Trials, Array, Array]:
    """Read the trials and the first and last joint positions, rad, shape (N, J) each."""
    episodes = dataset.episodes("val")
    rng = np.random.default_rng(params.train.rollout_seed)
    number = min(params.train.rollout_pens, len(episodes))
    chosen = np.sort(rng.choice(episodes, number, replace=False))
    rows = [dataset.rows(int(episode)) for episode in chosen]

    def field(kind: str, part: slice) -> Array:
        return dataset.state[part, dataset.layout.field(kind).slice].astype(np.float64)

    motions = [field("joint_pos", part) for part in rows]
    rate_hz = dataset.rate_hz or 1.0
    plans = tuple(_plan(motion, rate_hz) for motion in motions)
    position, axis = (
        np.stack([field(kind, part)[0] for part in rows]) for kind in ("object_pos", "object_axis")
    )
    start, end = (np.stack([motion[index] for motion in motions]) for index in (0, -1))
    around = [dataset.obstacles(int(episode)).astype(float) for episode in chosen]
    obstacles = tuple(around) if any(map(len, around)) else ()
    return Trials(position, axis, plans, number, obstacles), start, end


def _plan(joint_pos: Array, rate_hz: float) -> Plan:
    velocity = np.gradient(joint_pos, 1 / rate_hz, axis=0) if len(joint_pos) > 1 else joint_pos * 0
    times = np.arange(len(joint_pos)) / rate_hz
    return Plan(times, joint_pos, velocity, np.zeros_like(joint_pos))


def _require_limits(model: RobotModel, start: Array) -> None:
    beyond = np.maximum(model.lower - start, start - model.upper)
    if beyond.max() > LIMIT_TOLERANCE_RAD:
        row, joint = np.unravel_index(int(beyond.argmax()), beyond.shape)
        raise RolloutValidationError(
            f"an episode starts with {model.joints[joint]} at {start[row, joint]:.3f}, expected "
            f"{model.lower[joint]:.3f} to {model.upper[joint]:.3f} as robot.urdf says"
        )


def _require_grasp(model: RobotModel, trials: Trials, end: Array, params: Params) -> None:
    error = metrics.reach_error(
        model.fk(end), trials.object_pos, trials.object_axis, params.task.object_length_m
    )
    there = int((error.cap_m <= params.task.team_cap_m).sum())
    if there < len(end) / 2:
        raise RolloutValidationError(
            f"{there} of {len(end)} of its episodes end within {params.task.team_cap_m * 1000:g} "
            "mm of the grasp described by task and robot; expected at least half of them"
        )
