from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.obstacles import box, cylinder, distances
from pipeline.params import Params
from pipeline.policy.observation import with_obstacles
from pipeline.robot.chain import policy_geometry
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.training.contact import ContactCheck

STATES = 300


@pytest.fixture(scope="module")
def robot(params: Params) -> RobotModel:
    return RobotModel.from_params(params.robot)


@pytest.mark.parametrize("scene", ["free", "bar"])
def test_what_is_clear_touches_nothing(params: Params, robot: RobotModel, scene: str) -> None:
    """The check may call a free state a contact, and hardly ever the other way round."""
    task = params.override("task", scene=scene).task
    layout = Layout.from_params(params)
    check = ContactCheck(
        layout, policy_geometry(robot, task), collision_geometry(params.robot, task)
    )
    rng = np.random.default_rng(0)
    rows = np.stack([box([0.5, 0.3, 0.3], [0.1, 0.1, 0.4]), cylinder([0.3, -0.3, 0.3], 0.05, 0.6)])
    position, axis = np.array([0.45, 0.0, 0.3]), np.array([0.0, 0.0, 1.0])
    joints = robot.home + rng.uniform(-0.8, 0.8, (STATES, 6))
    values = {
        "joint_pos": joints, "joint_vel": joints, "ee_pose": robot.fk(joints),
        "object_pos": np.tile(position, (STATES, 1)), "object_axis": np.tile(axis, (STATES, 1)),
    }  # fmt: skip
    state = layout.pack({field.kind: values[field.kind] for field in layout.state})
    wide = with_obstacles(state[:, None], np.tile(rows, (STATES, 1, 1)))[:, 0]
    clearance = check(torch.from_numpy(joints).float(), torch.from_numpy(wide)).numpy()
    checker = CollisionChecker(params.robot, task)
    checker.place_obstacles(rows)
    around = [
        any(name in ("table", "pen") or "obstacle" in name for name in pair) if pair else False
        for pair in (checker.touching(q, position, axis) for q in joints)
    ]
    touches = np.array(around)
    assert 0.05 < touches.mean() < 0.95
    assert (clearance[touches] < 0.0).mean() > 0.85
    assert clearance[touches].max() < 0.03
    assert (clearance[~touches] > -0.03).mean() > 0.9


def test_the_object_turns_with_its_axis(params: Params, robot: RobotModel) -> None:
    layout = Layout.from_params(params)
    shapes = collision_geometry(params.robot, params.task)
    check = ContactCheck(layout, policy_geometry(robot, params.task), shapes)
    axes = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.6, 0.0, 0.8], [-1.0, 0.0, 0.0]])
    obs = np.zeros((4, layout.state_dim), np.float32)
    obs[:, layout.field("object_axis").slice] = axes
    rows = check._object(torch.from_numpy(obs)).numpy().astype(float)
    for row, axis in zip(rows, axes, strict=True):
        ends = np.stack([0.05 * axis, -0.05 * axis])
        assert distances(ends, row[None])[:, 0] == pytest.approx(-params.task.object_radius_m)
