"""What comes over the wire of a robot, good and bad."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.obstacles import box, sphere
from pipeline.recordings.pose import IDENTITY
from pipeline.recordings.rosbag.messages import PLANNING_SCENE, typestore
from pipeline.recordings.rosbag.planning_scene import serialize_planning_scene
from pipeline.recordings.scene import Scene
from pipeline.recordings.scene_messages import parse_planning_scene
from pipeline.runtime.joint_state import AgeLimits, MessageError, Observer, command

JOINTS = ("a", "b", "c")


@pytest.fixture
def observer() -> Observer:
    made = Observer(JOINTS, "base_link", AgeLimits(0.1, 0.5, 0.05))
    made.joints(10.0, JOINTS, [1.0, 2.0, 3.0])
    made.pose(10.0, "base_link", [0.4, 0.0, 0.2], [0.0, 0.0, 0.0, 1.0])
    return made


@given(st.permutations(["c", "finger", "a", "b", "wheel"]))
def test_joints_are_taken_by_name_in_any_order(names: list[str]) -> None:
    observer = Observer(JOINTS, "base_link", AgeLimits(0.1, 0.5, 0.05))
    values = {"a": 1.0, "b": 2.0, "c": 3.0, "finger": 9.0, "wheel": math.inf}
    observer.joints(0.0, names, [values[name] for name in names])
    observer.pose(0.0, "/base_link", [0, 0, 0], [0, 0, 0, 1])
    assert observer.observation(0.0)["joint_pos"].tolist() == [1.0, 2.0, 3.0]


@given(st.tuples(*[st.floats(-2, 2)] * 4))
@example((0.0, 0.0, 0.0, 0.0))
def test_the_axis_is_the_pose_s_z(quaternion: tuple[float, ...]) -> None:
    observer = Observer(JOINTS, "base_link", AgeLimits(0.1, 0.5, 0.05))
    observer.joints(0.0, JOINTS, [0.0] * 3)
    if sum(value * value for value in quaternion) < 1e-6:
        with pytest.raises(MessageError, match=r"^the object's quaternion is zero$"):
            observer.pose(0.0, "base_link", [0, 0, 0], quaternion)
        return
    observer.pose(0.0, "base_link", [0, 0, 0], quaternion)
    axis = observer.observation(0.0)["object_axis"]
    np.testing.assert_allclose(axis, Rotation.from_quat(quaternion).as_matrix()[:, 2], atol=1e-9)


@pytest.mark.parametrize(
    ("names", "positions", "words"),
    [
        (("a", "wheel"), (0.0, 0.0), "no b, c; it has a, wheel"),
        (("a", "b", "c", "a"), (0.0,) * 4, "a more than once"),
        (("a", "b", "c"), (0.0, 0.0), "has 3 names but 2 positions"),
        (("a", "b", "c"), (0.0, math.nan, 0.0), "^joint positions: a number is not finite"),
    ],
)
def test_a_bad_joint_state_is_refused_and_the_last_good_one_stands(
    observer: Observer, names: tuple[str, ...], positions: tuple[float, ...], words: str
) -> None:
    with pytest.raises(MessageError, match=words):
        observer.joints(10.0, names, positions)
    assert observer.observation(10.0)["joint_pos"].tolist() == [1.0, 2.0, 3.0]


def test_a_pose_of_another_frame_or_with_nan_is_refused(observer: Observer) -> None:
    with pytest.raises(MessageError, match="in 'camera', expected 'base_link'"):
        observer.pose(10.0, "camera", [0, 0, 0], [0, 0, 0, 1])
    with pytest.raises(MessageError, match="not finite"):
        observer.pose(10.0, "base_link", [0, math.nan, 0], [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("now_s", "words"),
    [
        (10.2, "joint state is 0.200 s old; at most 0.1 s are allowed"),
        (9.9, "joint state is stamped 0.100 s in the future"),
    ],
)
def test_stale_and_future_messages_are_refused(
    observer: Observer, now_s: float, words: str
) -> None:
    with pytest.raises(MessageError, match=words):
        observer.observation(now_s)


def test_a_stale_pose_is_refused_while_joints_go_on(observer: Observer) -> None:
    observer.joints(10.6, JOINTS, [1.0, 2.0, 3.0])
    with pytest.raises(MessageError, match=r"object pose is 0.600 s old"):
        observer.observation(10.6)


def test_before_anything_came_there_is_no_observation() -> None:
    observer = Observer(JOINTS, "base_link", AgeLimits(0.1, 0.5, 0.05))
    with pytest.raises(MessageError, match="no joint state has come yet"):
        observer.observation(0.0)
    observer.joints(0.0, JOINTS, [0.0] * 3)
    with pytest.raises(MessageError, match="no object pose has come yet"):
        observer.observation(0.0)


def test_a_command_names_its_joints_and_when_they_are_reached() -> None:
    made = command(JOINTS, np.array([1.0, 2.0, 3.0]), 50.0)
    assert made.names == JOINTS
    assert made.positions == (1.0, 2.0, 3.0)
    assert made.reach_in_s == 0.02
    with pytest.raises(MessageError, match="not finite"):
        command(JOINTS, np.array([1.0, math.nan, 3.0]), 50.0)
    with pytest.raises(MessageError, match="for 3 joints"):
        command(JOINTS, np.zeros(2), 50.0)


def test_moveit_s_planning_scene_becomes_the_obstacles() -> None:
    """As the ROS 2 example handles it."""
    observer = Observer(JOINTS, "base_link", AgeLimits(0.1, 0.5, 0.05), needs_obstacles=True)
    observer.joints(10.0, JOINTS, [1.0, 2.0, 3.0])
    observer.pose(10.0, "base_link", [0.4, 0.0, 0.2], [0.0, 0.0, 0.0, 1.0])
    with pytest.raises(MessageError, match="no planning scene has come yet"):
        observer.observation(10.0)
    scene, rows = Scene(), np.stack([box([0.4, 0.1, 0.2], [0.1, 0.2, 0.3]), sphere([1, 2, 3], 0.7)])

    def receive(frame: str, *arguments: object) -> None:
        raw = serialize_planning_scene(0, frame, *arguments)  # type: ignore[arg-type]
        message = typestore().deserialize_cdr(raw, PLANNING_SCENE)
        change = parse_planning_scene("/monitored_planning_scene", 0, 0, message)
        found = scene.apply(change, lambda frame: IDENTITY if frame == "base_link" else None)
        observer.obstacles(found.rows, (*found.unresolved, *found.invalid, *found.unsupported))

    receive("base_link", rows)
    np.testing.assert_allclose(observer.observation(10.0)["obstacles"], rows)
    receive("base_link", rows[:0], ["obstacle_1"])
    np.testing.assert_allclose(observer.observation(10.0)["obstacles"], rows[1:])
    receive("shelf", rows[:1])
    with pytest.raises(MessageError, match=r"not known: .*obstacle_1.*shelf"):
        observer.observation(10.0)


def test_without_a_planning_scene_there_are_no_obstacles(observer: Observer) -> None:
    assert "obstacles" not in observer.observation(10.0)
