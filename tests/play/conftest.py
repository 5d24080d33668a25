"""A policy that needs no training, trials, and a page without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.evaluation.draw import draw_trials
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner
from pipeline.runtime.session import RobotPolicy
from pipeline.stages import ingest as stage
from tests.fixtures.grasping_policy import make_grasping_policy
from tests.fixtures.recordings import write_plans

if TYPE_CHECKING:
    from pipeline.play.page import Page
    from pipeline.play.scene import Scene


@pytest.fixture(scope="session")
def policy(params: Params) -> RobotPolicy:
    return make_grasping_policy(params)


@pytest.fixture(scope="session")
def model(params: Params) -> RobotModel:
    return RobotModel.from_params(params.robot)


@pytest.fixture(scope="session")
def trials(params: Params) -> Trials:
    planner = Planner(params.robot, params.task, params.collect)
    return draw_trials(planner, params.task, number=3, seed=5)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page on a free port; its loop is turned by the test."""
    pytest.importorskip("viser", reason="the extra `play` is not installed")
    from pipeline.play.page import Page, start_server

    server = start_server("127.0.0.1", 0, "test")
    try:
        yield Page(server)
    finally:
        server.stop()


@pytest.fixture
def scene(page: Page, params: Params) -> Scene:
    from pipeline.play.scene import Scene

    return Scene(page.server, params)


@pytest.fixture(scope="session")
def ingested(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ingest with two accepted and three rejected trajectories."""
    folder = tmp_path_factory.mktemp("recordings")
    source = write_plans(folder / "bag", params, ("", "times", "", "frame", "names"))
    stage.run(params.override("ingest", max_reject_fraction=1.0), folder / "ingest", source)
    return folder / "ingest"
