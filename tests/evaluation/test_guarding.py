"""The guard of an evaluation; what it counts is tried in tests/runtime/guard/test_carried.py."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.guarding import guard_finding, guard_summary, make_guard
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.model import RobotModel


def test_a_guard_that_is_off_is_none(params: Params) -> None:
    robot = RobotModel.from_params(params.robot)
    assert make_guard(params.override("execution", guard="off"), robot) is None
    assert make_guard(params.override("execution", guard="check"), robot) is not None


def test_rollouts_without_a_guard_count_nothing(loop: Loop, trials: Trials) -> None:
    still = np.tile(loop.model.home, (len(trials), 5, 1))
    rollouts = loop.replay(still, trials)
    assert guard_summary(rollouts) == {}
    assert guard_finding(rollouts, 0) == ""
