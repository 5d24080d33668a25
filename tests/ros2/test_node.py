"""The node's messages and its rhythm; the command with a real policy is in stages/test_ros2."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")

from pipeline.recordings.rosbag.messages import (
    JOINT_STATE,
    JOINT_TRAJECTORY,
    PLANNING_SCENE,
    POSE_STAMPED,
    typestore,
)
from pipeline.recordings.rosbag.planning_scene import serialize_planning_scene
from pipeline.ros2.controller import Controller
from pipeline.ros2.network import Network, Reach
from pipeline.ros2.node import Node, decode, encode
from pipeline.ros2.participant import Participant
from pipeline.ros2.settings import NodeSettings
from pipeline.runtime.joint_state import Command, MessageError
from tests.fixtures.ros2 import joint_state, pose, wait_until
from tests.ros2.test_controller import BOX, JOINTS, Policy

RELIABLE = Reach(reliable=True, transient_local=False)
PATIENT = NodeSettings(joints_max_age_s=1e6, pose_max_age_s=1e6, planning_scene="/scene")


def test_a_command_is_a_trajectory_of_one_point_without_a_stamp() -> None:
    data = encode(Command(("a", "b"), (0.5, -1.0), 1.25))
    message = typestore().deserialize_cdr(data, JOINT_TRAJECTORY)
    assert message.joint_names == ["a", "b"] and len(message.points) == 1
    assert message.points[0].positions.tolist() == [0.5, -1.0]
    assert message.header.stamp.sec == message.header.stamp.nanosec == 0
    duration = message.points[0].time_from_start
    assert (duration.sec, duration.nanosec) == (1, 250_000_000)


@pytest.mark.parametrize("data", [b"", b"\0\1\0\0", b"\0\1\0\0" + b"\xff" * 40, b"x" * 7])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(MessageError, match=r"no sensor_msgs/msg/JointState"):
        decode(data, JOINT_STATE)


def test_messages_become_commands(network: Network) -> None:
    told: list[str] = []
    policy = Policy()
    with Participant(network) as participant:
        node = Node(participant, Controller(policy, PATIENT), PATIENT, told.append)  # type: ignore[arg-type]
        store = typestore()
        sends = {
            topic: participant.advertise(topic, msgtype, store, RELIABLE, 10)
            for topic, msgtype in ((PATIENT.joint_states, JOINT_STATE),
                                   (PATIENT.object_pose, POSE_STAMPED),
                                   (PATIENT.planning_scene, PLANNING_SCENE))
        }  # fmt: skip
        heard = participant.subscribe(PATIENT.commands, JOINT_TRAJECTORY, store, RELIABLE, None)
        wait_until(lambda: all(send.subscribers for send in sends.values()), "subscriptions")
        wait_until(lambda: heard.publishers, "the node's publisher")
        node.step(time.time())
        assert told == ["no command: no joint state has come yet"]
        sends[PATIENT.joint_states].write(joint_state(JOINTS[:2], [1, 2]))
        sends[PATIENT.joint_states].write(joint_state(JOINTS, [1, 2, 3]))
        sends[PATIENT.object_pose].write(pose([0.4, 0.0, 0.2]))
        whole = typestore().deserialize_cdr(
            serialize_planning_scene(0, "base_link", BOX, []), PLANNING_SCENE
        )
        whole.is_diff = False
        sends[PATIENT.planning_scene].write(bytes(store.serialize_cdr(whole, PLANNING_SCENE)))
        came: list[bytes] = []

        def has_command() -> bool:
            came.extend(sample.data for sample in heard.take())
            return bool(came)

        began = time.monotonic()
        node.run(lambda: has_command() or time.monotonic() > began + 600)
        message = typestore().deserialize_cdr(came[0], JOINT_TRAJECTORY)
        assert message.points[0].positions.tolist() == [1.5, 2.5, 3.5]
        np.testing.assert_allclose(policy.seen[-1]["obstacles"], BOX)
        assert told[-1] == "sending commands"
