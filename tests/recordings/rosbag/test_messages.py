"""The bytes that the pipeline writes are those of the message definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.rosbag.messages import (
    DEFINITIONS,
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    POSE_STAMPED,
    JointStateSerializer,
    serialize_display_trajectory,
    serialize_pose,
    typestore,
)


@given(
    names=st.lists(
        st.text(st.characters(max_codepoint=0x2FF, exclude_characters="\0"), max_size=12),
        min_size=1,
        max_size=9,
    ),
    time_ns=st.integers(0, 2**31 * 10**9 - 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_joint_states_equal_those_of_the_library_byte_for_byte(names, time_ns, seed):
    rng = np.random.default_rng(seed)
    position, velocity = rng.normal(size=(2, len(names)))
    types = typestore().types
    seconds, nanoseconds = divmod(time_ns, 10**9)
    message = types[JOINT_STATE](
        header=types["std_msgs/msg/Header"](
            stamp=types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds),
            frame_id="",
        ),
        name=names,
        position=position,
        velocity=velocity,
        effort=np.zeros(0),
    )
    expected = bytes(typestore().serialize_cdr(message, JOINT_STATE, little_endian=True))
    assert JointStateSerializer(names)(time_ns, position, velocity) == expected


def test_joint_states_with_a_wrong_number_of_joints_are_refused():
    with pytest.raises(ValueError, match="2 joints, but positions"):
        JointStateSerializer(["a", "b"])(0, np.zeros(3), np.zeros(2))


def test_a_plan_survives_the_round_trip():
    rng = np.random.default_rng(0)
    position, velocity, acceleration = rng.normal(size=(3, 5, 2))
    t = np.array([0.0, 0.1, 0.25, 1.0, 1.1])
    raw = serialize_display_trajectory(
        "arm", "base_link", ["a", "b"], t, position, velocity, acceleration, position[0]
    )
    plan = typestore().deserialize_cdr(raw, DISPLAY_TRAJECTORY)
    (segment,) = plan.trajectory
    points = segment.joint_trajectory.points
    assert plan.model_id == "arm"
    assert segment.joint_trajectory.header.frame_id == "base_link"
    assert segment.joint_trajectory.joint_names == ["a", "b"]
    assert [p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in points] == [
        0,
        100_000_000,
        250_000_000,
        1_000_000_000,
        1_100_000_000,
    ]
    np.testing.assert_array_equal([p.positions for p in points], position)
    np.testing.assert_array_equal([p.velocities for p in points], velocity)
    np.testing.assert_array_equal([p.accelerations for p in points], acceleration)
    np.testing.assert_array_equal(plan.trajectory_start.joint_state.position, position[0])


def test_a_pose_survives_the_round_trip():
    raw = serialize_pose(
        1_500_000_001, "base_link", np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.6, 0.0, 0.8])
    )
    message = typestore().deserialize_cdr(raw, POSE_STAMPED)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_001)
    assert message.header.frame_id == "base_link"
    assert (message.pose.position.x, message.pose.position.z) == (1.0, 3.0)
    assert (message.pose.orientation.y, message.pose.orientation.w) == (0.6, 0.8)


def test_every_type_of_a_plan_is_known():
    store = typestore()
    assert set(DEFINITIONS) <= set(store.fielddefs)
    definition, _ = store.generate_msgdef(DISPLAY_TRAJECTORY, ros_version=2)
    assert definition.count("MSG: ") == 27  # with the type itself the 28 that a plan needs
