"""Messages in, commands out, whoever carries them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.obstacles import box
from pipeline.recordings.rosbag.messages import PLANNING_SCENE, make_header, typestore
from pipeline.recordings.rosbag.planning_scene import serialize_planning_scene
from pipeline.ros2.controller import Controller, seconds_and_nanoseconds
from pipeline.ros2.settings import NodeSettings
from pipeline.runtime.joint_state import MessageError

JOINTS = ("a", "b", "c")
BOX = np.stack([box([0.4, 0.1, 0.2], [0.1, 0.2, 0.3])])


class Policy:
    """Commands the positions that it sees, and keeps what it was given."""

    layout = SimpleNamespace(joints=JOINTS)
    control_hz = 50.0

    def __init__(self) -> None:
        self.seen, self.resets = [], 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, observation):
        self.seen.append(observation)
        return observation["joint_pos"] + 0.5


def stamped(sec, frame="base_link", **fields):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=500_000_000), frame_id=frame)
    return SimpleNamespace(header=header, **fields)


def joints(sec=10):
    return stamped(sec, "", name=["c", "a", "b"], position=np.array([3.0, 1.0, 2.0]))


def pose(sec=10, frame="base_link"):
    position = SimpleNamespace(x=0.4, y=0.0, z=0.2)
    turn = SimpleNamespace(x=1.0, y=0.0, z=0.0, w=0.0)
    return stamped(sec, frame, pose=SimpleNamespace(position=position, orientation=turn))


def controller(**settings):
    policy = Policy()
    return Controller(policy, NodeSettings(**settings)), policy  # type: ignore[arg-type]


def scene(rows=BOX, frame="base_link", is_diff=True):
    message = typestore().deserialize_cdr(
        serialize_planning_scene(0, frame, rows, []), PLANNING_SCENE
    )
    message.is_diff = is_diff
    return message


def test_a_command_follows_from_the_newest_messages() -> None:
    made, policy = controller()
    made.on_joints(joints())
    made.on_pose(pose())
    command = made.step(10.55)
    assert command.names == JOINTS and command.positions == (1.5, 2.5, 3.5)
    assert command.reach_in_s == 0.02 and made.control_hz == 50.0
    np.testing.assert_allclose(policy.seen[0]["object_axis"], [0, 0, -1])
    assert "obstacles" not in policy.seen[0]


def test_after_an_error_the_policy_starts_anew() -> None:
    made, policy = controller()
    made.on_joints(joints())
    made.on_pose(pose())
    made.step(10.5)
    made.step(10.5)
    assert policy.resets == 1
    with pytest.raises(MessageError, match=r"joint state is 1\.000 s old"):
        made.step(11.5)
    with pytest.raises(MessageError, match="in 'camera'"):
        made.on_pose(pose(11, "camera"))
    made.on_joints(joints(11))
    made.on_pose(pose(11))
    made.step(11.5)
    assert policy.resets == 2


def test_an_error_of_the_policy_sends_nothing_either() -> None:
    made, policy = controller()
    made.on_joints(joints())
    made.on_pose(pose())
    policy.act = lambda _: np.full(3, np.nan)
    with pytest.raises(PipelineError, match="not finite"):
        made.step(10.5)


def test_obstacles_are_known_once_the_whole_scene_has_come() -> None:
    made, policy = controller(planning_scene="/scene")
    made.on_joints(joints())
    made.on_pose(pose())
    with pytest.raises(MessageError, match="change of the planning scene came before the whole"):
        made.on_scene(scene())
    with pytest.raises(MessageError, match="no planning scene has come yet"):
        made.step(10.5)
    made.on_scene(scene(is_diff=False))
    made.step(10.5)
    np.testing.assert_allclose(policy.seen[-1]["obstacles"], BOX)
    made.on_scene(scene(np.stack([BOX[0], BOX[0] + 0.0])))
    made.step(10.5)
    assert len(policy.seen[-1]["obstacles"]) == 2
    made.on_scene(scene(BOX, "camera"))
    with pytest.raises(MessageError, match="obstacles are not known"):
        made.step(10.5)


def test_a_scene_that_cannot_be_read_must_come_whole_again() -> None:
    made, _ = controller(planning_scene="/scene")
    made.on_joints(joints())
    made.on_pose(pose())
    made.on_scene(scene(is_diff=False))
    broken = scene()
    broken.world.collision_objects[0].operation = 9
    made.on_scene(broken)
    with pytest.raises(MessageError, match=r"obstacles are not known: .*operation 9"):
        made.step(10.5)
    with pytest.raises(MessageError, match="before the whole"):
        made.on_scene(scene())
    made.on_scene(scene(is_diff=False))
    made.step(10.5)


def test_the_object_to_grasp_is_no_obstacle() -> None:
    made, policy = controller(planning_scene="/scene", ignored_object="obstacle_1")
    made.on_joints(joints())
    made.on_pose(pose())
    made.on_scene(scene(is_diff=False))
    made.step(10.5)
    assert len(policy.seen[-1]["obstacles"]) == 0


def test_stamps_are_read_as_rclpy_and_rosbags_give_them() -> None:
    made, _ = controller()
    message = joints()
    message.header = make_header(10_500_000_000, "")
    made.on_joints(message)
    made.on_pose(pose())
    made.step(10.5)


@pytest.mark.parametrize(
    ("time_s", "fields"),
    [(0.02, (0, 20_000_000)), (1 / 30, (0, 33_333_333)), (1.25, (1, 250_000_000)),
     (1.9999999999, (2, 0))],
)  # fmt: skip
def test_durations_are_whole_nanoseconds(time_s: float, fields: tuple[int, int]) -> None:
    assert seconds_and_nanoseconds(time_s) == fields
