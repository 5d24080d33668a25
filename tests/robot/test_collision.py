from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.obstacles import sphere
from pipeline.params import Params, RobotParams
from pipeline.robot.collision import SPACING_M, CollisionChecker
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


def test_a_swept_motion_finds_what_lies_between_its_samples(checker: CollisionChecker) -> None:
    home = checker.model.home
    aside = home + np.array([0.9, 0, 0, 0, 0, 0])
    between = checker.model.tcp(home + np.array([0.45, 0, 0, 0, 0, 0])).translation
    motion = np.stack([home, home, aside, aside])
    assert not checker.colliding(motion, between, UP).any()
    found = checker.first_contact(motion, between, UP)
    assert found is not None and found[0] == 2 and "pen" in found[1:]
    assert checker.first_contact(motion[:2], between, UP) is None
    assert checker.first_contact(motion, AWAY + UP, UP) is None
    inside = np.stack([home, home])
    found = checker.first_contact(inside, checker.model.tcp(home).translation - 0.05 * UP[::-1], UP)
    assert found is not None and found[0] == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_swept_motion_agrees_with_checking_it_densely(
    barred: CollisionChecker, seed: int
) -> None:
    rng, model = np.random.default_rng(seed), barred.model
    ends = model.home + rng.uniform(-0.8, 0.8, (2, 6))
    position = np.array([0.4, 0.0, 0.2]) + rng.uniform(-0.2, 0.2, 3)
    dense = np.linspace(*ends, 1600)
    touching = barred.colliding(dense, position, UP)
    found = barred.first_contact(dense, position, UP)
    missed = touching if found is None else touching[: found[0]]
    changes = np.flatnonzero(np.diff(np.concatenate([[False], missed, [False]]).astype(int)))
    longest = max(changes[1::2] - changes[::2], default=1)
    per_row = float(np.abs(ends[1] - ends[0]) @ barred._lever) / (len(dense) - 1)
    assert (longest - 1) * per_row < SPACING_M, "what it passes over is thinner than its spacing"
    if found is not None:
        closer = np.linspace(dense[max(found[0] - 1, 0)], dense[found[0]], 500)
        assert barred.colliding(closer, position, UP).any()


@given(st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6), st.integers(0, 5))
def test_no_point_moves_further_than_the_levers_say(
    checker: CollisionChecker, shares: list[float], joint: int
) -> None:
    model = checker.model
    joint_pos = np.array(shares) * np.minimum(model.upper, 1.6)
    moved = joint_pos.copy()
    moved[joint] += 0.01
    points = [model.link_positions(pose) for pose in (joint_pos, moved)]
    travel = np.linalg.norm(points[1] - points[0], axis=-1).max()
    assert travel <= 0.01 * checker._lever[joint] + 1e-12


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


def test_clearance_is_the_distance_to_the_nearest_obstacle(params: Params) -> None:
    checker = CollisionChecker(params.robot, params.override("task", scene="bar").task)
    home = checker.model.home
    far = checker.clearance(home[None])
    assert far > 0.02
    centre = checker.model.tcp(home).translation + np.array([0.12, 0.0, 0.0])
    checker.place_obstacles(sphere(centre, 0.05)[None])
    near = checker.clearance(home[None])
    assert 0 < near < far
    other = checker.clearance(home[None] + 0.1)
    assert checker.clearance(np.stack([home, home + 0.1, home])) == min(near, other)
    for more, hits in ((-1e-4, False), (1e-4, True)):
        checker.place_obstacles(sphere(centre, 0.05 + near + more)[None])
        assert checker.collides(home, AWAY, UP) == hits
        assert checker.clearance(home[None]) == pytest.approx(-more, abs=2e-5)
    assert CollisionChecker(params.robot, params.task).clearance(home[None]) == np.inf
