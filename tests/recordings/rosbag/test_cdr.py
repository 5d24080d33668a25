"""Direct decoding gives what the library gives, or None."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from pipeline.recordings.rosbag.cdr import JointStateReader, has_known_definition, read_pose
from pipeline.recordings.rosbag.messages import (
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    JOINT_TRAJECTORY,
    POSE_STAMPED,
    ROBOT_TRAJECTORY,
    serialize_pose,
    typestore,
)

from .ros_messages import TYPES, header, joint_names, serialize


def joint_state(names, rng, velocity=True, effort=False, frame="", **options):
    size = len(names)
    message = TYPES[JOINT_STATE](
        header=header(frame, sec=3),
        name=names,
        position=rng.normal(size=size),
        velocity=rng.normal(size=size if velocity else 0),
        effort=rng.normal(size=size if effort else 0),
    )
    return message, serialize(message, JOINT_STATE, **options)


@given(joint_names, st.booleans(), st.booleans(), st.text("ab", max_size=9), st.integers(0, 99))
def test_joint_states_are_read_as_the_library_reads_them(names, velocity, effort, frame, seed):
    rng = np.random.default_rng(seed)
    read = JointStateReader()
    for _ in range(3):
        message, raw = joint_state(names, rng, velocity, effort, frame)
        found, position, speed = read(raw)
        assert found == tuple(names)
        np.testing.assert_array_equal(position, message.position)
        if velocity:
            np.testing.assert_array_equal(speed, message.velocity)
        else:
            assert speed is None


@given(st.lists(st.tuples(joint_names, st.booleans()), max_size=6), st.integers(0, 99))
def test_joint_states_of_changing_layouts_are_read(forms, seed):
    rng = np.random.default_rng(seed)
    read = JointStateReader()
    for names, velocity in forms:
        message, raw = joint_state(names, rng, velocity)
        found, position, speed = read(raw)
        assert found == tuple(names)
        np.testing.assert_array_equal(position, message.position)
        assert (speed is not None) == velocity


def test_unknown_layouts_are_left_to_the_library():
    rng = np.random.default_rng(0)
    _, big_endian = joint_state(["a", "b"], rng, little_endian=False)
    assert JointStateReader()(big_endian) is None
    _, nameless = joint_state([], rng)
    assert JointStateReader()(nameless) is None


@given(st.integers(0, 400), st.integers(0, 99))
def test_truncated_messages_are_left_to_the_library(length, seed):
    _, joints = joint_state(["a", "b"], np.random.default_rng(seed))
    if length < len(joints) - 4:  # the effort's length is not looked at
        assert JointStateReader()(joints[:length]) is None
    pose = serialize_pose(seed, "base_link", np.ones(3), np.ones(4))
    if length < len(pose):
        assert read_pose(pose[:length]) is None


@given(
    st.text(max_size=9).filter(lambda text: "\0" not in text),
    st.lists(st.floats(width=64), min_size=7, max_size=7),
)
def test_poses_are_read_as_the_library_reads_them(frame, numbers):
    raw = serialize_pose(5, frame, np.array(numbers[:3]), np.array(numbers[3:]))
    message = typestore().deserialize_cdr(raw, POSE_STAMPED)
    found, position, orientation = read_pose(raw)
    assert found == message.header.frame_id
    point, turn = message.pose.position, message.pose.orientation
    np.testing.assert_array_equal(position, [point.x, point.y, point.z])
    np.testing.assert_array_equal(orientation, [turn.x, turn.y, turn.z, turn.w])
    assert read_pose(b"\0\0" + raw[2:]) is None


@pytest.mark.parametrize(
    "msgtype", [JOINT_STATE, DISPLAY_TRAJECTORY, ROBOT_TRAJECTORY, JOINT_TRAJECTORY, POSE_STAMPED]
)
def test_only_the_known_definitions_are_read(msgtype):
    assert has_known_definition(typestore(), msgtype)
    assert not has_known_definition(get_typestore(Stores.EMPTY), msgtype)
    assert not has_known_definition(typestore(), "std_msgs/msg/String")
    other = get_typestore(Stores.EMPTY)
    other.register(get_types_from_msg("float32[] position\n", msgtype))
    assert not has_known_definition(other, msgtype)
