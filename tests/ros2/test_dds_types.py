"""Classes for Cyclone DDS describe ROS 2 messages; its own serialiser agrees with rosbags."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.rosbag.planning_scene import serialize_planning_scene

pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")

from pipeline.obstacles import box, sphere
from pipeline.ros2.dds_types import describe_type, make_message_class
from pipeline.ros2.recorder import RECORDED_TYPES
from tests.fixtures.ros2 import joint_state, pose
from tests.recordings.rosbag.ros_messages import Make

make = Make(m.typestore())
ROWS = np.stack([box([0.4, 0.1, 0.2], [0.1, 0.2, 0.3]), sphere([1, 2, 3], 0.7)])
PLAN = np.arange(12.0).reshape(2, 6)


def encoded(message, msgtype):
    return bytes(m.typestore().serialize_cdr(message, msgtype))


def transforms():
    stamped = make(
        "geometry_msgs/msg/TransformStamped", header=make.header(3, "base_link"),
        child_frame_id="pen",
        transform=make(
            "geometry_msgs/msg/Transform",
            translation=make("geometry_msgs/msg/Vector3", x=1.0, y=2.0, z=3.0),
            rotation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
        ),
    )  # fmt: skip
    return make(m.TF_MESSAGES[0], transforms=[stamped])


SAMPLES = {
    m.JOINT_STATE: joint_state(["joint_1", "j", ""], [0.1, -0.2, 3.0], 1_234_567_890_123),
    m.POSE_STAMPED: pose([0.4, 0.1, 0.2], 99, "a_frame_of_odd_length"),
    m.JOINT_TRAJECTORY: encoded(make.joint_trajectory(), m.JOINT_TRAJECTORY),
    m.DISPLAY_TRAJECTORY: bytes(
        m.serialize_display_trajectory(
            "arm", "base_link", [f"joint_{i}" for i in range(6)], np.array([0.0, 0.5]),
            PLAN, PLAN * 2, PLAN * 3, PLAN[0],
        )
    ),
    m.TF_MESSAGES[0]: encoded(transforms(), m.TF_MESSAGES[0]),
    m.PLANNING_SCENE: bytes(serialize_planning_scene(7, "base_link", ROWS, ["gone"])),
}  # fmt: skip


@pytest.mark.parametrize("msgtype", sorted(SAMPLES))
def test_cyclone_s_serialiser_gives_the_same_bytes(msgtype: str) -> None:
    """The described type decodes and encodes a message by Cyclone's own rules (XCDR1)."""
    sample = describe_type(m.typestore(), msgtype).deserialize(SAMPLES[msgtype])
    assert sample.serialize(use_version_2=False) == SAMPLES[msgtype]


@pytest.mark.parametrize("msgtype", sorted(SAMPLES))
def test_a_sample_keeps_its_bytes(msgtype: str) -> None:
    made = make_message_class(m.typestore(), msgtype)
    assert made.deserialize(SAMPLES[msgtype]).data == SAMPLES[msgtype]
    assert made(b"anything").serialize(use_version_2=False) == b"anything"
    assert made.deserialize_key(b"\0\1\0\0").data == b"\0\1\0\0"


@pytest.mark.parametrize(
    "msgtype", [*sorted(RECORDED_TYPES & m.typestore().fielddefs.keys()), m.MARKS[2]]
)
def test_every_recorded_type_can_be_described(msgtype: str) -> None:
    made = make_message_class(m.typestore(), msgtype)
    made.__idl__.populate()
    made.__idl__.fill_type_data()
    package, kind, name = msgtype.split("/")
    assert made.__idl__.idl_transformed_typename == f"{package}::{kind}::dds_::{name}_"


def test_the_hashes_of_types_are_those_that_ros_names() -> None:
    """As `ros2 topic info --verbose` prints them in Jazzy."""
    assert m.typestore().hash_rihs01("std_msgs/msg/String") == (
        "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
    )
    assert m.typestore().hash_rihs01(m.JOINT_STATE) == (
        "RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e"
    )
