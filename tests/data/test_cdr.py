"""The shortcut reads what the library reads, or steps aside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from pipeline.data.cdr import JointStateReader, knows, read_plan
from pipeline.data.messages import (
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    POSE_STAMPED,
    new_typestore,
    serialize_display_trajectory,
    typestore,
)

TYPES = typestore().types
joint_names = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9),
                       min_size=1, max_size=8)  # fmt: skip


def header(frame="", sec=0):
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=sec, nanosec=7)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def serialize(message, msgtype, little_endian=True):
    return bytes(typestore().serialize_cdr(message, msgtype, little_endian=little_endian))


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


def robot_trajectory(names, points, rng, carried=(True, True, False), multi_dof=0):
    def numbers(present):
        return rng.normal(size=len(names) if present else 0)

    moving = TYPES["trajectory_msgs/msg/MultiDOFJointTrajectoryPoint"]
    duration = TYPES["builtin_interfaces/msg/Duration"]
    return TYPES["moveit_msgs/msg/RobotTrajectory"](
        joint_trajectory=TYPES["trajectory_msgs/msg/JointTrajectory"](
            header=header("base_link"),
            joint_names=names,
            points=[
                TYPES["trajectory_msgs/msg/JointTrajectoryPoint"](
                    positions=numbers(True),
                    velocities=numbers(carried[0]),
                    accelerations=numbers(carried[1]),
                    effort=numbers(carried[2]),
                    time_from_start=duration(sec=index // 3, nanosec=index * 1001),
                )
                for index in range(points)
            ],
        ),
        multi_dof_joint_trajectory=TYPES["trajectory_msgs/msg/MultiDOFJointTrajectory"](
            header=header("odom"),
            joint_names=["base"] * multi_dof,
            points=[moving([], [], [], duration(sec=0, nanosec=0)) for _ in range(multi_dof)],
        ),
    )


def display(trajectories, model_id="arm"):
    state = (
        typestore()
        .deserialize_cdr(
            serialize_display_trajectory(
                model_id, "", ["a"], np.zeros(0), *np.zeros((3, 0, 1)), np.zeros(1)
            ),
            DISPLAY_TRAJECTORY,
        )
        .trajectory_start
    )
    message = TYPES[DISPLAY_TRAJECTORY](
        model_id=model_id, trajectory=trajectories, trajectory_start=state
    )
    return serialize(message, DISPLAY_TRAJECTORY)


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
def test_joint_states_of_changing_forms_are_each_read_by_their_own(forms, seed):
    rng = np.random.default_rng(seed)
    read = JointStateReader()
    for names, velocity in forms:
        message, raw = joint_state(names, rng, velocity)
        found, position, speed = read(raw)
        assert found == tuple(names)
        np.testing.assert_array_equal(position, message.position)
        assert (speed is not None) == velocity


@given(
    st.lists(st.tuples(joint_names, st.integers(0, 7)), max_size=3),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.text("xyz", max_size=9),
    st.integers(0, 99),
)
def test_plans_are_read_as_the_library_reads_them(parts, carried, model_id, seed):
    rng = np.random.default_rng(seed)
    trajectories = [robot_trajectory(names, points, rng, carried) for names, points in parts]
    segments = read_plan(display(trajectories, model_id))
    assert len(segments) == len(parts)
    for segment, trajectory in zip(segments, trajectories, strict=True):
        joint = trajectory.joint_trajectory
        assert segment.joint_names == tuple(joint.joint_names)
        times = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in joint.points]
        np.testing.assert_array_equal(segment.t, times)
        shape = (len(joint.points), len(joint.joint_names))
        positions = np.array([p.positions for p in joint.points]).reshape(shape)
        np.testing.assert_array_equal(segment.joint_pos, positions)
        if carried[0] and joint.points:
            velocities = np.array([p.velocities for p in joint.points])
            np.testing.assert_array_equal(segment.joint_vel, velocities)
        else:
            assert segment.joint_vel is None


def test_forms_that_the_shortcut_does_not_know_are_left_to_the_library():
    rng = np.random.default_rng(0)
    names = ["a", "b"]
    uneven = robot_trajectory(names, 3, rng)
    uneven.joint_trajectory.points[2].velocities = np.zeros(0)
    short = robot_trajectory(names, 2, rng)
    short.joint_trajectory.points[1].positions = np.zeros(1)
    for trajectory in (uneven, short, robot_trajectory(names, 2, rng, multi_dof=1)):
        assert read_plan(display([trajectory])) is None
    _, big_endian = joint_state(names, rng, little_endian=False)
    assert JointStateReader()(big_endian) is None
    _, nameless = joint_state([], rng)
    assert JointStateReader()(nameless) is None


@given(st.integers(0, 400), st.integers(0, 99))
def test_messages_cut_off_are_left_to_the_library(length, seed):
    rng = np.random.default_rng(seed)
    plan = display([robot_trajectory(["a", "b"], 4, rng)])
    end = plan.rindex(b"odom\0") + len(b"odom\0")
    if length < end:
        assert read_plan(plan[:length]) is None
    _, joints = joint_state(["a", "b"], rng)
    if length < len(joints) - 4:  # the effort's length is not looked at
        assert JointStateReader()(joints[:length]) is None


@pytest.mark.parametrize("msgtype", [JOINT_STATE, DISPLAY_TRAJECTORY])
def test_only_the_known_definitions_are_read(msgtype):
    assert knows(new_typestore(), msgtype)
    assert not knows(get_typestore(Stores.EMPTY), msgtype)
    assert not knows(new_typestore(), POSE_STAMPED)
    other = get_typestore(Stores.EMPTY)
    other.register(get_types_from_msg("float32[] position\n", JOINT_STATE))
    assert not knows(other, JOINT_STATE)


def test_a_length_out_of_all_proportion_is_left_to_the_library():
    plan = bytearray(display([robot_trajectory(["a"], 1, np.random.default_rng(0))]))
    at = plan.index(b"a\0", plan.index(b"base_link") + 9) + 2
    at += -at % 4
    assert plan[at : at + 4] == (1).to_bytes(4, "little")
    plan[at : at + 4] = (2**32 - 1).to_bytes(4, "little")
    assert read_plan(bytes(plan)) is None
