from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.params import Params, RobotParams
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import ModelError, RobotModel

UP = np.array([0.0, 0.0, 1.0])
AWAY = np.array([0.4, 0.4, 0.3])


@pytest.fixture(scope="module")
def checker(params: Params) -> CollisionChecker:
    return CollisionChecker(params.robot, params.task)


@pytest.fixture(scope="module")
def barred(params: Params) -> CollisionChecker:
    return CollisionChecker(params.robot, params.override("task", scene="bar").task, 0.02)


def test_home_is_free(checker: CollisionChecker) -> None:
    assert not checker.collides(checker.model.home, AWAY, UP)
    assert checker.touching(checker.model.home, AWAY, UP) is None


@pytest.mark.parametrize(
    ("along_m", "across_m", "link"),
    [
        (0.12, 0.0, None),  # the grasp: the cap at the grasp centre, between the fingers
        (0.05, 0.0, "rh_p12_rn_base"),  # the pen pushed into the palm
        (0.12, 0.059, "rh_p12_rn_l"),  # the pen in a finger
        (0.12, -0.059, "rh_p12_rn_r"),
        (0.12, 0.035, None),  # off centre, still between the fingers
    ],
)
def test_a_pen_in_the_hand_touches_what_it_should(
    checker: CollisionChecker, params: Params, along_m: float, across_m: float, link: str | None
) -> None:
    home = checker.model.home
    tcp = checker.model.tcp(home)
    x, z = tcp.rotation[:, 0], tcp.rotation[:, 2]
    cap = tcp.translation + (along_m - params.robot.tcp_offset_m) * z + across_m * x
    position = cap + z * params.task.object_length_m / 2
    pair = checker.touching(home, position, -z)
    assert checker.collides(home, position, -z) == (link is not None)
    assert pair == (None if link is None else (link, "pen"))


def test_the_arm_touches_table_and_itself(checker: CollisionChecker) -> None:
    bent = np.array([0.0, 1.6, 0.9, 0.0, 0.0, 0.0])
    pair = checker.touching(bent, AWAY, UP)
    assert pair is not None
    assert "table" in pair
    folded = np.array([0.0, -0.3, 2.35, 0.0, 2.0, 0.0])
    pair = checker.touching(folded, AWAY, UP)
    assert pair is not None
    assert "table" not in pair
    assert "pen" not in pair


def test_a_motion_s_colliding_samples_are_counted(checker: CollisionChecker) -> None:
    home = checker.model.home
    bent = np.array([0.0, 1.6, 0.9, 0.0, 0.0, 0.0])
    motion = np.stack([home, bent, home, bent])
    assert checker.colliding(motion, AWAY, UP).tolist() == [False, True, False, True]
    assert not checker.colliding(motion[::2], AWAY, UP).any()


def test_the_pen_moves_with_its_pose(checker: CollisionChecker) -> None:
    home = checker.model.home
    tcp = checker.model.tcp(home).translation
    assert checker.collides(home, tcp - 0.05 * np.eye(3)[0], UP)
    assert not checker.collides(home, AWAY, UP)
    assert checker.collides(home, tcp - 0.05 * np.eye(3)[0], UP)


def test_poses_are_in_the_base_frame_of_any_arm(crane: RobotParams, params: Params) -> None:
    checker = CollisionChecker(crane, params.override("task", table_height_m=-0.2).task)
    home = checker.model.home
    hand = checker.model.link_positions(home)[-2]
    assert not checker.collides(home, hand + 0.5 * UP, UP)
    assert checker.touching(home, hand, UP) in {("hand", "pen"), ("finger", "pen")}


@pytest.mark.parametrize("name", ["urdf", "srdf"])
def test_missing_files_are_named(params: Params, name: str) -> None:
    robot = params.override("robot", **{name: Path("nowhere")}).robot
    with pytest.raises(ModelError, match="nowhere: no such file"):
        CollisionChecker(robot, params.task)


def test_a_urdf_without_shapes_is_refused(params: Params, tmp_path: Path) -> None:
    text = params.robot.urdf.read_text()
    bare = "".join(part.split("</collision>")[-1] for part in text.split("<collision>"))
    path = tmp_path / "bare.urdf"
    path.write_text(bare)
    robot = params.override("robot", urdf=path).robot
    with pytest.raises(ModelError, match="no link has a <collision>"):
        CollisionChecker(robot, params.task)


def test_the_arm_touches_the_scene_s_boxes_where_they_stand(params: Params) -> None:
    arm = CollisionChecker(params.robot, params.task).model
    tip = arm.tcp(arm.home).translation
    boxes = [
        {"centre_m": (1.0, 1.0, 1.0), "size_m": (0.1, 0.1, 0.1)},
        {"centre_m": tuple(tip), "size_m": (0.2, 0.02, 0.02)},
    ]
    task = params.override("task", scene="bars", scenes={"bars": boxes}).task
    pair = CollisionChecker(params.robot, task).touching(arm.home, AWAY, UP)
    assert pair is not None
    assert "obstacle 2" in pair
    boxes[1]["size_m"] = (0.02, 0.02, 0.02)
    between_the_fingers = params.override("task", scene="bars", scenes={"bars": boxes}).task
    assert not CollisionChecker(params.robot, between_the_fingers).collides(arm.home, AWAY, UP)


def test_boxes_are_in_the_base_frame_of_any_arm(crane: RobotParams, params: Params) -> None:
    arm = RobotModel.from_params(crane)
    hand = arm.link_positions(arm.home)[-2]
    box = {"centre_m": tuple(hand), "size_m": (0.05, 0.05, 0.05)}
    task = params.override("task", table_height_m=-0.2, scene="one", scenes={"one": [box]}).task
    pair = CollisionChecker(crane, task).touching(arm.home, AWAY - 2 * UP, UP)
    assert pair is not None
    assert "obstacle 1" in pair


@given(st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6), st.floats(-0.2, 0.2))
def test_the_quick_check_agrees_with_every_pair(
    barred: CollisionChecker, shares: list[float], y_m: float
) -> None:
    model = barred.model
    joint_pos = np.array(shares) * np.minimum(model.upper, 1.6)
    position = np.array([0.4, y_m, 0.3])
    collides = barred.collides(joint_pos, position, UP)
    assert collides == (barred.touching(joint_pos, position, UP) is not None)


@pytest.mark.parametrize(("clearance_m", "hits"), [(0.0, False), (0.005, False), (0.03, True)])
def test_the_object_s_clearance_makes_it_larger(
    params: Params, clearance_m: float, hits: bool
) -> None:
    checker = CollisionChecker(params.robot, params.task, object_clearance_m=clearance_m)
    home = checker.model.home
    tcp = checker.model.tcp(home)
    x, z = tcp.rotation[:, 0], tcp.rotation[:, 2]
    off_centre = tcp.translation + 0.035 * x + z * params.task.object_length_m / 2
    assert checker.collides(home, off_centre, -z) == hits
