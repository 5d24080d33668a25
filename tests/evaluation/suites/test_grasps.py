"""Grasps at the end of real rollouts, and what metrics.json says of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.judge import ClosedLoop, judge
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.suites.grasps import grasp_summary, lifted
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.obstacles import box
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.grasp import GraspSimulator


@pytest.fixture(scope="module")
def simulator(params: Params) -> GraspSimulator:
    return GraspSimulator(params.robot, params.task, params.evaluate)


@pytest.fixture(scope="module")
def expert(params: Params, loop: Loop, trials: Trials) -> ClosedLoop:
    rollouts = loop.replay(expert_commands(trials, 30.0, 70), trials)
    return judge(rollouts, trials, CollisionChecker(params.robot, params.task), params.task)


def test_the_expert_lifts_and_a_collision_on_the_way_is_no_success(
    simulator: GraspSimulator, expert: ClosedLoop, trials: Trials
) -> None:
    assert lifted(simulator, expert, trials, 2).tolist() == [True, True]
    hit = replace(expert, collided=np.array([True, False, False]))
    assert lifted(simulator, hit, trials, 99).tolist() == [False, True, True]


def test_standing_still_lifts_nothing(
    params: Params, simulator: GraspSimulator, loop: Loop, trials: Trials
) -> None:
    still = loop.replay(np.tile(loop.model.home, (3, 5, 1)), trials)
    judged = judge(still, trials, CollisionChecker(params.robot, params.task), params.task)
    assert lifted(simulator, judged, trials, 1).tolist() == [False]


def test_the_summary_counts() -> None:
    policy, expert = np.array([True, False, True, True]), np.ones(4, np.bool_)
    summary = grasp_summary(policy, expert)
    assert (summary["n"], summary["success"]) == (4, 0.75)
    assert summary["ci95"][0] < 0.75 < summary["ci95"][1]
    assert summary["expert"]["success"] == 1.0


def test_a_trial_is_lifted_among_its_own_obstacles(
    simulator: GraspSimulator, expert: ClosedLoop, loop: Loop, trials: Trials
) -> None:
    wrist = loop.model.link_positions(expert.rollouts.joint_pos[1, -1])[-3]
    lid = box(wrist + np.array([0, 0, 0.11]), [0.2, 0.2, 0.04])[None]
    none = np.zeros((0, 12))
    covered = replace(trials, obstacles=(none, lid, none))
    assert lifted(simulator, expert, covered, 3).tolist() == [True, False, True]
