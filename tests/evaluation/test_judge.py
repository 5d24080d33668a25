"""Tests the judge: planned motions succeed; an arm at rest or one that hits the table fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.judge import Contact, judge, obstacle_clearances
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.obstacles import sphere
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.retime import Plan

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


def test_rollouts_are_not_judged_by_more_trials_than_they_have(
    params: Params, loop: Loop, trials: Trials, checker: CollisionChecker
) -> None:
    one = loop.replay(np.tile(loop.model.home, (1, 2, 1)), trials.first(1))
    with pytest.raises(ValueError, match="longer"):
        judge(one, trials, checker, params.task)


def test_a_dive_into_the_table_names_what_touched_it_and_when(
    params: Params, loop: Loop, trials: Trials, checker: CollisionChecker
) -> None:
    down = np.tile(loop.model.home, (3, STEPS, 1))
    down[:, :, 1] = np.linspace(loop.model.home[1], 1.6, STEPS)
    judged = judge(loop.replay(down, trials), trials, checker, params.task)
    assert judged.collided.all() and judged.summary["collisions"] == 3
    assert not judged.passed["strict"].any() and not judged.passed["collision_free"].any()
    for index, contact in enumerate(judged.contacts):
        assert contact is not None and contact.step > 0
        where = trials.object_pos[index], trials.object_axis[index]
        path = judged.rollouts.joint_pos[index]
        assert not checker.colliding(path[: contact.step], *where).any()
        assert checker.touching(path[contact.step], *where) == (contact.first, contact.second)


def test_a_contact_between_two_control_steps_is_found(
    params: Params, loop: Loop, checker: CollisionChecker
) -> None:
    # The arm turns about its base at the speed limit and grazes the pen between two samples.
    position, axis = np.array([[0.263, 0.137, 0.737]]), np.array([[0.60, -0.68, -0.43]])
    axis /= np.linalg.norm(axis)
    plan = Plan(np.zeros(1), loop.model.home[None], np.zeros((1, 6)), np.zeros((1, 6)))
    trials = Trials(position, axis, (plan,), 1)
    speed = np.minimum(np.arange(1, 31) * 10 / 30, loop.model.velocity_limits[0])
    swing = np.tile(loop.model.home, (1, 30, 1))
    swing[0, :, 0] = np.minimum(np.cumsum(speed) / 30, 1.5)
    rollouts = loop.replay(swing, trials)
    assert not checker.colliding(rollouts.joint_pos[0], position[0], axis[0]).any()
    judged = judge(rollouts, trials, checker, params.task)
    (contact,) = judged.contacts
    assert contact is not None and judged.summary["collisions"] == 1
    assert {contact.first, contact.second} == {"rh_p12_rn_base", "pen"}
    # It is named with the control step whose physics steps touch.
    touching = checker.colliding(rollouts.motion[0, 1:], position[0], axis[0])
    assert contact.step == np.argmax(touching) // rollouts.physics_steps


def test_the_first_rollouts_alone_have_their_own_summary(
    params: Params, loop: Loop, trials: Trials, checker: CollisionChecker
) -> None:
    commands = expert_commands(trials, loop.simulator.rate_hz, STEPS)
    commands[2] = loop.model.home
    judged = judge(loop.replay(commands, trials), trials, checker, params.task)
    assert judged.summary["success_strict"] == pytest.approx(2 / 3)
    part = judged.first(2, params.task)
    replayed = judge(
        loop.replay(commands[:2], trials.first(2)), trials.first(2), checker, params.task
    )
    assert part.summary == replayed.summary and part.summary["n"] == 2


def test_a_contact_is_formatted_with_both_names_and_the_step() -> None:
    assert str(Contact(39, "rh_p12_rn_l", "pen")) == "rh_p12_rn_l and pen at step 39"


def test_clearance_is_that_of_each_trial_s_own_obstacles(
    loop: Loop, trials: Trials, checker: CollisionChecker
) -> None:
    still = loop.replay(np.tile(loop.model.home, (3, 2, 1)), trials)
    away = loop.model.tcp(loop.model.home).translation + np.array([0.5, 0.0, 0.0])
    own = (sphere(away, 0.1)[None], np.zeros((0, 12)), sphere(away, 0.2)[None])
    near, none, nearer = obstacle_clearances(checker, still, replace(trials, obstacles=own))
    assert near - nearer == pytest.approx(0.1, abs=1e-6)
    assert 0.1 < near < 0.4
    assert none == np.inf
