"""Fixtures with a few real trials, shared by the tests of evaluation."""

from __future__ import annotations

import pytest

from pipeline.evaluation.draw import draw_trials
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner
from pipeline.robot.simulator import Simulator
from tests.fixtures.traces import *

RATE_HZ = 30.0


@pytest.fixture(scope="session")
def planner(params: Params) -> Planner:
    return Planner(params.robot, params.task, params.collect)


@pytest.fixture(scope="session")
def trials(params: Params, planner: Planner) -> Trials:
    return draw_trials(planner, params.task, number=3, seed=5)


@pytest.fixture(scope="session")
def loop(params: Params) -> Loop:
    simulator = Simulator(params.robot, RATE_HZ, params.evaluate.physics_steps)
    model = RobotModel.from_params(params.robot)
    # The tests count steps, so their execution settings do not follow params.yaml.
    execution = params.override(
        "execution", mode="chunk", execute_steps=8, noise_scale=1.0
    ).execution
    return Loop(simulator, model, Layout.from_params(params), 16, 2, execution, RATE_HZ)
