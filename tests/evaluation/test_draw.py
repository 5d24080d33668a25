"""Drawn trials are reachable and repeatable."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation import metrics
from pipeline.evaluation.draw import TrialError, draw_trials
from pipeline.evaluation.trials import Trials
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


def test_a_task_out_of_reach_is_an_error(params: Params) -> None:
    far = params.override("task", cap_min_m=(5.0, 5.0, 5.0), cap_max_m=(6.0, 6.0, 6.0))
    planner = Planner(far.robot, far.task, far.collect)
    with pytest.raises(TrialError, match=r"reached 0 of 50 objects.*5\.0"):
        draw_trials(planner, far.task, number=1, seed=1)
