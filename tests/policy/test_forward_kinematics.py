from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.kinematics import Geometry, KinematicsError
from pipeline.params import Params
from pipeline.policy.forward_kinematics import ForwardKinematics
from pipeline.robot.model import RobotModel


def test_every_leading_axis_gives_what_the_robot_s_model_gives(
    params: Params, geometry: Geometry
) -> None:
    robot = RobotModel.from_params(params.robot)
    q = np.random.default_rng(0).uniform(-1.5, 1.5, (3, 2, 6))
    position, rotation = ForwardKinematics(geometry.chain, robot.joints)(
        torch.from_numpy(q).float()
    )
    assert position.shape == (3, 2, 3)
    assert rotation.shape == (3, 2, 3, 3)
    pose = robot.fk(q)
    assert np.abs(position.numpy() - pose[..., :3]).max() < 1e-5
    z_axis = np.stack([[robot.tcp(joints).rotation[:, 2] for joints in row] for row in q])
    assert np.abs(rotation[..., 2].numpy() - z_axis).max() < 1e-5


def test_the_idle_joint_changes_nothing(geometry: Geometry, params: Params) -> None:
    kinematics = ForwardKinematics(geometry.chain, params.robot.joints)
    q = torch.zeros(2, 6)
    q[1, 5] = 1.0
    position, rotation = kinematics(q)
    assert torch.equal(position[0], position[1])
    assert torch.equal(rotation[0], rotation[1])


def test_a_joint_that_the_state_lacks_is_named(geometry: Geometry, params: Params) -> None:
    with pytest.raises(KinematicsError, match="joint_6"):
        ForwardKinematics(geometry.chain, params.robot.joints[:5])
