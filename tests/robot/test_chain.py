"""The chain as plain numbers says the same as the robot's model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import kinematics
from pipeline.params import Params
from pipeline.policy.forward_kinematics import ForwardKinematics
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.model import RobotModel

# A sliding axis first, a tilted axis, an offset tip: nothing that the default arm has.
ODD_ARM = """<robot name="odd">
  <link name="base"/><link name="rail"/><link name="arm"/><link name="hand"/>
  <joint name="slide" type="prismatic"><parent link="base"/><child link="rail"/>
    <origin xyz="0.1 0 0.3" rpy="0.2 0 0.4"/><axis xyz="0 1 0"/>
    <limit lower="-0.5" upper="0.5" velocity="1" effort="10"/></joint>
  <joint name="turn" type="revolute"><parent link="rail"/><child link="arm"/>
    <origin xyz="0 0.2 0" rpy="0 0.5 0"/><axis xyz="0.6 0 0.8"/>
    <limit lower="-3" upper="3" velocity="1" effort="10"/></joint>
  <joint name="roll" type="continuous"><parent link="arm"/><child link="hand"/>
    <origin xyz="0.3 0 0.1" rpy="0 0 0"/><axis xyz="0 0 1"/>
    <limit velocity="1" effort="10"/></joint>
</robot>"""


def _agree(robot: RobotModel, idle: list[bool]) -> None:
    chain = kinematic_chain(robot)
    assert [joint.idle for joint in chain.joints] == idle
    q = np.random.default_rng(0).uniform(-0.5, 0.5, (20, len(robot.joints)))
    held = np.where(idle, 0.0, q)
    position, rotation = ForwardKinematics(chain, robot.joints)(torch.from_numpy(q).float())
    for row, joint_pos in enumerate(held):
        tcp = robot.tcp(joint_pos)
        assert np.abs(position[row].numpy() - tcp.translation).max() < 1e-6
        assert np.abs(rotation[row].numpy() - tcp.rotation).max() < 1e-6


def test_the_default_arm_s_last_joint_is_idle(params: Params) -> None:
    _agree(RobotModel.from_params(params.robot), [False] * 5 + [True])


def test_an_arm_with_a_sliding_and_a_continuous_joint(params: Params, tmp_path: Path) -> None:
    path = tmp_path / "odd.urdf"
    path.write_text(ODD_ARM)
    # The state's order need not be the chain's.
    robot = params.override(
        "robot",
        urdf=path,
        base_link="base",
        tip_link="hand",
        joints=("turn", "slide", "roll"),
        home_rad=(0.0, 0.0, 0.0),
        acceleration_limits_rad_s2=(1.0, 1.0, 1.0),
        servo={"kp": (1.0,) * 3, "damping_ratio": 1.0, "armature_kg_m2": (0.1,) * 3},
    ).robot
    model = RobotModel.from_params(robot)
    chain = kinematic_chain(model)
    assert [joint.name for joint in chain.joints] == ["slide", "turn", "roll"]
    assert [joint.motion for joint in chain.joints] == ["prismatic", "revolute", "continuous"]
    q = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    position, rotation = ForwardKinematics(chain, model.joints)(torch.from_numpy(q).float())
    for row, joint_pos in enumerate(q * [1, 1, 0]):
        tcp = model.tcp(joint_pos)
        assert np.abs(position[row].numpy() - tcp.translation).max() < 1e-6
        assert np.abs(rotation[row].numpy() - tcp.rotation).max() < 1e-6


@pytest.mark.parametrize("kind", ["arm", "crane"])
def test_numpy_kinematics_agree_with_pinocchio(kind: str, request: pytest.FixtureRequest) -> None:
    found_robot = request.getfixturevalue(kind)
    is_model = isinstance(found_robot, RobotModel)
    robot = found_robot if is_model else RobotModel.from_params(found_robot)
    fk = kinematics.ForwardKinematics(kinematic_chain(robot), robot.joints, robot.home)
    joint_pos = np.random.default_rng(0).uniform(*robot.planning_range(), (500, len(robot.joints)))
    found, expected = fk(joint_pos), robot.fk(joint_pos)
    # A pose at the border of home's hemisphere may fall to either side.
    expected[:, 3:] *= np.sign(np.sum(found[:, 3:] * expected[:, 3:], axis=1))[:, None]
    assert np.abs(found - expected).max() < 1e-12
    path = np.linspace(*robot.planning_range(), 300)
    poses = fk(path)
    poses[:, 3:] = kinematics.continue_paths(poses[:, 3:], np.zeros(1, np.int64))
    assert np.abs(poses - robot.ee_path(path)).max() < 1e-12
