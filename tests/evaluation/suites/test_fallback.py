"""The planner takes over where the guard holds a robot, in rollouts and numbers of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.evaluation.execution import make_guard
from pipeline.evaluation.judge import ClosedLoop, judge
from pipeline.evaluation.recorder import Observations
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.suites.fallback import fall_back, takeover_steps
from pipeline.evaluation.trials import Trials
from pipeline.obstacles import box
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.planner import Planner

Array = NDArray[np.float64]
STEPS = 70


@pytest.fixture(scope="module")
def guarded(params: Params) -> Params:
    return params.override("execution", guard="repair", fallback="planner", fallback_after_s=0.2)


@pytest.fixture(scope="module")
def walled(loop: Loop, trials: Trials) -> Trials:
    """A wall that only the second trial has crosses the straight way from home to the grasp."""
    plan = trials.plans[1]
    way = loop.model.fk(plan.sample(np.linspace(0, plan.duration_s, 20)))[:, :3]
    near = box(way[8], [0.04, 0.30, 0.30])[None]
    none = np.zeros((0, 12))
    return replace(trials, obstacles=(none, near, none))


@pytest.fixture(scope="module")
def stubborn(params: Params, guarded: Params, loop: Loop, walled: Trials) -> ClosedLoop:
    """A policy that goes straight to the grasp, whatever stands there."""
    goals = np.stack([plan.joint_pos[-1] for plan in walled.plans])
    caps = walled.object_pos

    def straight(obs: Observations, noise: Observations) -> Array:
        now = obs[:, -1, :6].astype(np.float64)
        seen = obs[:, -1, 19:22]
        which = np.linalg.norm(seen[:, None] - caps, axis=2).argmin(axis=1)
        way = goals[which] - now
        step = way / np.maximum(np.abs(way).max(axis=1, keepdims=True), 0.5) * 0.5
        return now[:, None] + np.arange(1, 17)[None, :, None] / 16 * step[:, None]

    guard = replace(loop, guard=make_guard(guarded, loop.model), execution=guarded.execution)
    rollouts = guard.run(straight, walled, 2 * STEPS, seed=0)
    checker = CollisionChecker(params.robot, params.task)
    return judge(rollouts, walled, checker, params.task)


def test_a_takeover_needs_an_unbroken_hold_and_an_arm_at_rest() -> None:
    held = np.array([[0, 1, 1, 0, 1, 1, 1, 1], [0] * 8, [1] * 8, [0, 0, 0, 0, 0, 1, 1, 1]]) > 0
    there, still = np.zeros((4, 8)) > 0, np.zeros((4, 8, 6))
    assert takeover_steps(held, there, still, 3).tolist() == [7, -1, 3, -1]
    braking = still + np.minimum(np.arange(8), 4)[:, None] * 0.01
    assert takeover_steps(held, there, braking, 3).tolist() == [7, -1, 6, -1]


def test_an_arm_that_stands_still_short_of_the_grasp_is_taken_over() -> None:
    free, away = np.zeros((3, 8)) > 0, np.array([[1] * 8, [1] * 8, [0] * 8]) > 0
    command = np.zeros((3, 8, 6))
    command[0] += np.arange(8)[:, None] * 0.1
    command[1, :, 0] = [0.0, 0.1, 0.2, 0.3, 0.3, 0.3, 0.301, 0.3]
    assert takeover_steps(free, away, command, 3).tolist() == [-1, 6, -1]


def test_the_planner_reaches_what_the_guard_kept_the_policy_from(
    guarded: Params, loop: Loop, walled: Trials, stubborn: ClosedLoop, planner: Planner
) -> None:
    assert stubborn.passed["strict"].tolist() == [True, False, True], "the wall holds the arm"
    assert not stubborn.collided.any()
    before = dict(stubborn.summary)
    found = fall_back(loop, stubborn, walled, planner, guarded)
    assert (found["n"], found["n_taken_over"], found["n_without_plan"]) == (3, 1, 0)
    assert found["success_collision_free"] == 1.0
    assert found["collisions"] == 0
    assert found["taken_over"]["n"] == 1
    assert found["taken_over"]["success_collision_free"] == 1.0
    assert stubborn.summary == before, "the policy's numbers stay the policy's"


def test_without_a_plan_the_trial_stays_the_policy_s(
    guarded: Params, loop: Loop, walled: Trials, stubborn: ClosedLoop, planner: Planner
) -> None:
    cap = walled.object_pos[1] + walled.object_axis[1] * guarded.task.object_length_m / 2
    buried = np.concatenate([walled.around(1), box(cap, [0.08, 0.08, 0.08])[None]])
    shut = replace(walled, obstacles=(walled.around(0), buried, walled.around(2)))
    found = fall_back(loop, stubborn, shut, planner, guarded)
    assert (found["n_taken_over"], found["n_without_plan"]) == (0, 1)
    assert found["success_strict"] == stubborn.summary["success_strict"]
    assert found["taken_over"] is None


def test_nothing_happens_unless_it_is_asked_for(
    params: Params, loop: Loop, walled: Trials, stubborn: ClosedLoop, planner: Planner
) -> None:
    assert fall_back(loop, stubborn, walled, planner, params) == {}
