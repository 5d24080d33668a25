"""Trials: reachable, repeatable, and each with the expert's own way to it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import metrics
from pipeline.evaluation.trials import TrialError, Trials, draw_trials, expert_commands
from pipeline.params import Params
from pipeline.robot.planner import Planner


def test_every_trial_s_plan_ends_at_the_grasp(
    params: Params, trials: Trials, planner: Planner
) -> None:
    ends = planner.model.fk(np.stack([plan.joint_pos[-1] for plan in trials.plans]))
    error = metrics.reach_error(
        ends, trials.object_pos, trials.object_axis, params.task.object_length_m
    )
    assert error.cap_m.max() < 1e-3
    assert error.angle_deg.max() < 0.1


def test_the_same_seed_draws_the_same_objects_and_another_seed_others(
    params: Params, trials: Trials, planner: Planner
) -> None:
    again = draw_trials(planner, params.task, number=3, seed=5)
    other = draw_trials(planner, params.task, number=3, seed=6)
    assert np.array_equal(again.object_pos, trials.object_pos)
    assert not np.isclose(other.object_pos, trials.object_pos).any()


def test_more_trials_keep_the_first_ones(params: Params, trials: Trials, planner: Planner) -> None:
    more = draw_trials(planner, params.task, number=4, seed=5)
    assert np.array_equal(more.object_pos[:3], trials.object_pos)


def test_the_first_trials_are_a_prefix(trials: Trials) -> None:
    assert len(trials.first(2)) == len(trials.first(2).object_pos) == 2
    assert np.array_equal(trials.first(2).object_axis, trials.object_axis[:2])
    assert len(trials.first(10)) == 3


def test_commands_follow_the_plan_and_hold_its_end(trials: Trials) -> None:
    commands = expert_commands(trials, rate_hz=30.0, steps=90)
    assert commands.shape == (3, 90, 6)
    for command, plan in zip(commands, trials.plans, strict=True):
        assert command[-1] == pytest.approx(plan.joint_pos[-1], abs=1e-9)
        assert command[2] == pytest.approx(plan.joint_pos[1], abs=1e-9)  # 0.1 s is step 3


def test_a_task_out_of_reach_is_an_error(params: Params) -> None:
    far = params.override("task", cap_min_m=(5.0, 5.0, 5.0), cap_max_m=(6.0, 6.0, 6.0))
    planner = Planner(far.robot, far.task, far.collect)
    with pytest.raises(TrialError, match=r"reached 0 of 50 objects.*5\.0"):
        draw_trials(planner, far.task, number=1, seed=1)


def test_a_rollout_is_long_enough_for_the_longest_plan(trials: Trials) -> None:
    longest_s = max(plan.duration_s for plan in trials.plans)
    assert trials.steps(30.0, 10_000) == 10_000
    assert 1.5 * longest_s <= trials.steps(30.0, 1) / 30.0 < 1.5 * longest_s + 1 / 30.0
