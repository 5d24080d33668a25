"""A data set of the expert's plans at 30 Hz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset.zarr_arrays import create_array, create_group
from pipeline.evaluation.draw import draw_trials
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner
from tests.fixtures.recordings import *
from tests.fixtures.scenes import *
from tests.fixtures.traces import *

RATE_HZ = 30.0


@pytest.fixture(scope="session")
def plans_zarr(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zarr with twelve episodes, four of them for validation."""
    planner = Planner(params.robot, params.task, params.collect)
    trials = draw_trials(planner, params.task, number=12, seed=5)
    layout, model = Layout.from_params(params), RobotModel.from_params(params.robot)
    states, actions = [], []
    for plan, position, axis in zip(
        trials.plans, trials.object_pos, trials.object_axis, strict=True
    ):
        times = np.arange(0, plan.duration_s + 0.3, 1 / RATE_HZ)
        joints = plan.sample(times)
        values = {
            "joint_pos": joints,
            "joint_vel": plan.sample(times, order=1),
            "ee_pose": model.fk(joints),
            "object_pos": np.tile(position, (len(joints), 1)),
            "object_axis": np.tile(axis, (len(joints), 1)),
        }
        states.append(layout.pack(values))
        actions.append(plan.sample(times + 1 / RATE_HZ).astype(np.float32))
    group = create_group(tmp_path_factory.mktemp("plans") / "plans.zarr", 2)
    arrays = {
        "data/state": np.concatenate(states),
        "data/action": np.concatenate(actions),
        "meta/episode_ends": np.cumsum([len(state) for state in states]),
        "meta/split": np.array([0] * 8 + [1] * 4, np.int8),
    }
    for name, array in arrays.items():
        create_array(group, name, array.shape, array.dtype.name, 1000)[:] = array
    group.attrs.update({"layout": layout.to_dict(), "rate_hz": RATE_HZ})
    return Path(str(group.store.root))
