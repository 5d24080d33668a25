from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipeline.kinematics import continue_paths
from pipeline.params import Params, RobotParams
from pipeline.robot.model import ModelError, RobotModel, axis_quaternion, continue_quaternions

Array = NDArray[np.float64]
angles = arrays(np.float64, 6, elements=st.floats(-2.3, 2.3))
quaternions = arrays(np.float64, (5, 4), elements=st.floats(-1, 1))


def _published_fk(q: Array) -> tuple[Array, Rotation]:
    """Forward kinematics of the E0509 in closed form (spherical wrist), without the URDF."""
    base, upper = Rotation.from_euler("z", q[0]), Rotation.from_euler("y", q[1])
    fore = base * Rotation.from_euler("y", q[1] + q[2])
    wrist = fore * Rotation.from_euler("ZYZ", q[3:])
    elbow = 0.2045 * np.eye(3)[2] + (base * upper).apply([0, 0, 0.373])
    return elbow + fore.apply([0, 0, 0.373]) + wrist.apply([0, 0, 0.1725 + 0.12]), wrist


@given(angles)
def test_fk_agrees_with_the_arm_s_closed_form(arm: RobotModel, q: Array) -> None:
    position, rotation = _published_fk(q)
    pose = arm.fk(q)
    assert pose[:3] == pytest.approx(position, abs=2e-5)
    # 1.5708 in the published description is not quite a right angle.
    assert (Rotation.from_quat(pose[3:]).inv() * rotation).magnitude() < 1e-4


def test_limits_come_from_the_urdf_and_params(arm: RobotModel) -> None:
    assert arm.upper.tolist() == [3.14, 1.6581, 2.3562, 3.14, 2.3562, 3.14]
    assert arm.lower.tolist() == [-x for x in arm.upper]
    assert arm.effort_limits.tolist() == [194, 194, 194, 66, 66, 66]
    assert arm.velocity_limits == pytest.approx(arm.acceleration_limits)
    assert not arm.continuous.any()


def test_fk_keeps_leading_axes_and_home_s_hemisphere(arm: RobotModel) -> None:
    joint_pos = np.random.default_rng(0).uniform(arm.lower, arm.upper, (4, 25, 6))
    poses = arm.fk(joint_pos)
    assert poses.shape == (4, 25, 7)
    assert np.linalg.norm(poses[..., 3:], axis=-1) == pytest.approx(1.0)
    assert (poses[..., 3:] @ arm.fk(arm.home)[3:] >= 0).all()


def test_a_continued_path_has_no_jump_where_the_hemisphere_ends(arm: RobotModel) -> None:
    single = arm.fk(np.linspace(arm.lower, arm.upper, 400))
    quaternions = continue_paths(single[:, 3:], np.zeros(1, np.int64))
    assert (np.sum(quaternions[1:] * quaternions[:-1], axis=1) > 0.99).all()
    assert (quaternions @ arm.fk(arm.home)[3:]).min() < 0, "the motion does leave the hemisphere"


@given(quaternions, quaternions)
def test_continued_quaternions_differ_only_in_sign(before: Array, now: Array) -> None:
    continued = continue_quaternions(before, now)
    assert (np.sum(before * continued, axis=-1) >= 0).all()
    assert np.array_equal(np.abs(continued), np.abs(now))


@given(arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_axis_quaternion_turns_z_into_the_axis(vector: Array) -> None:
    axis = vector / np.linalg.norm(vector)
    assert Rotation.from_quat(axis_quaternion(axis)).apply([0, 0, 1]) == pytest.approx(
        axis, abs=1e-6
    )


def test_link_positions_run_from_base_to_tcp(arm: RobotModel) -> None:
    points = arm.link_positions(arm.home)
    assert points.shape == (9, 3)
    assert points[0].tolist() == [0, 0, 0]
    assert points[1] == pytest.approx([0, 0, 0.2045])
    assert points[-1] == pytest.approx(arm.fk(arm.home)[:3])
    assert np.linalg.norm(points[-1] - points[-2]) == pytest.approx(0.12)


def test_another_arm_works_with_the_same_code(crane: RobotParams) -> None:
    model = RobotModel.from_params(crane)
    assert model.continuous.tolist() == [False, True, False]
    assert model.upper.tolist() == [1.2, np.inf, 1.0]
    dip, turn, slide = 0.3, 2.5, -0.4
    hand = Rotation.from_euler("z", turn) * Rotation.from_euler("y", dip)
    expected = np.array([slide, 0, 0.3]) + hand.apply([0.4, 0, 0.12])
    for turns in (0, 1, -3):
        pose = model.fk([dip, turn + turns * 2 * np.pi, slide])
        assert pose[:3] == pytest.approx(expected)
        assert (Rotation.from_quat(pose[3:]).inv() * hand).magnitude() < 1e-9


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("joints", ("joint_1", "joint_2", "joint_3", "joint_4", "joint_5", "wrist"), "joint_6"),
        ("tip_link", "tool0", "link_6"),
        ("base_link", "world", "base_link"),
        ("base_link", "link_2", "joint_2"),
        ("urdf", Path("nowhere.urdf"), "no such file"),
        ("home_rad", (0.0, 1.7, 0.8, 0.0, 1.57, 0.0), "joint_2"),
    ],
)
def test_the_error_names_a_wrong_parameter(
    params: Params, key: str, value: object, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        RobotModel.from_params(params.override("robot", **{key: value}).robot)


def test_the_error_names_a_file_that_is_not_a_urdf(params: Params, tmp_path: Path) -> None:
    path = tmp_path / "arm.urdf"
    path.write_text("<robot name='x'>")
    with pytest.raises(ModelError, match=r"arm\.urdf: not readable"):
        RobotModel.from_params(params.override("robot", urdf=path).robot)


def test_a_wrong_number_of_joints_is_rejected(arm: RobotModel) -> None:
    with pytest.raises(ModelError, match=r"\(3, 5\)"):
        arm.fk(np.zeros((3, 5)))
