"""The expert plans the present object without stopping the page."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.metrics import object_cap
from pipeline.params import Params
from pipeline.play.expert import Expert
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from tests.conftest import HANG_S


@pytest.fixture
def expert(params: Params) -> Expert:
    return Expert(params)


def test_it_plans_to_the_object_in_the_background(
    params: Params, expert: Expert, model: RobotModel
) -> None:
    position, axis = expert.random_object()
    cap = object_cap(position, axis, params.task.object_length_m)
    assert (params.task.cap_min_m <= cap).all() and (cap <= params.task.cap_max_m).all()
    found: list[tuple[Plan | None, str]] = []
    expert.in_background(position, axis, lambda *result: found.append(result)).join(HANG_S)
    [(plan, reason)] = found
    assert plan is not None and reason == ""
    assert model.fk(plan.joint_pos[-1])[:3] == pytest.approx(cap, abs=1e-3)


def test_it_says_why_there_is_no_plan(expert: Expert) -> None:
    plan, reason = expert.plan(np.array([3.0, 0.0, 0.2]), np.array([0.0, 0.0, 1.0]))
    assert plan is None and reason == "unreachable"
