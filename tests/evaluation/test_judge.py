"""Rollouts judged: the planner's motions succeed, a still arm and a dive into the table do not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.judge import judge
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker

STEPS = 150


@pytest.fixture(scope="module")
def checker(params: Params) -> CollisionChecker:
    return CollisionChecker(params.robot, params.task)


def test_the_planners_own_motions_succeed(
    params: Params, loop: Loop, trials: Trials, checker: CollisionChecker
) -> None:
    rollouts = loop.replay(expert_commands(trials, loop.simulator.rate_hz, STEPS), trials)
    judged = judge(rollouts, trials, checker, params.task)
    assert judged.passed["strict"].tolist() == [True] * 3
    assert judged.contacts == (None, None, None) and not judged.collided.any()
    assert judged.error.cap_m.shape == judged.rollouts.joint_pos.shape[:2]
    assert judged.summary["success_strict"] == 1.0 and judged.summary["n"] == 3


def test_a_still_arm_succeeds_at_nothing_and_touches_nothing(
    params: Params, loop: Loop, trials: Trials, checker: CollisionChecker
) -> None:
    still = np.tile(loop.model.home, (3, STEPS, 1))
    judged = judge(loop.replay(still, trials), trials, checker, params.task)
    assert not judged.passed["team"].any() and not judged.collided.any()


def test_a_dive_into_the_table_is_counted_as_a_contact(
    params: Params, loop: Loop, trials: Trials, checker: CollisionChecker
) -> None:
    down = np.tile(loop.model.home, (3, STEPS, 1))
    down[:, :, 1] = np.linspace(loop.model.home[1], 1.6, STEPS)
    judged = judge(loop.replay(down, trials), trials, checker, params.task)
    assert judged.collided.all() and judged.summary["collisions"] == 3
    assert not judged.passed["strict"].any() and not judged.passed["collision_free"].any()
