"""Direct decoding of plans gives what the library gives, or None."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.rosbag.cdr_trajectory import PlanReader, read_plan
from pipeline.recordings.rosbag.messages import (
    DISPLAY_TRAJECTORY,
    JOINT_TRAJECTORY,
    ROBOT_TRAJECTORY,
    serialize_display_trajectory,
    typestore,
)

from .ros_messages import TYPES, header, joint_names, serialize


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


def same(segment, trajectory, velocities):
    joint = trajectory.joint_trajectory
    assert segment.joint_names == tuple(joint.joint_names)
    times = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in joint.points]
    np.testing.assert_array_equal(segment.t, times)
    shape = (len(joint.points), len(joint.joint_names))
    positions = np.array([p.positions for p in joint.points]).reshape(shape)
    np.testing.assert_array_equal(segment.joint_pos, positions)
    if velocities and joint.points:
        np.testing.assert_array_equal(segment.joint_vel, [p.velocities for p in joint.points])
    else:
        assert segment.joint_vel is None


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
        same(segment, trajectory, carried[0])


@pytest.mark.parametrize("msgtype", [DISPLAY_TRAJECTORY, ROBOT_TRAJECTORY, JOINT_TRAJECTORY])
@given(
    forms=st.lists(
        st.tuples(
            joint_names,
            st.tuples(st.booleans(), st.booleans(), st.booleans()),
            st.text("xyz", max_size=9),
            st.lists(st.integers(0, 7), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=3,
    ),
    seed=st.integers(0, 99),
)
def test_a_reader_reads_every_message_of_a_topic_in_any_order(msgtype, forms, seed):
    rng = np.random.default_rng(seed)
    read = PlanReader(msgtype)
    for names, carried, model_id, numbers in forms:
        for points in numbers:
            trajectory = robot_trajectory(names, points, rng, carried)
            if msgtype == DISPLAY_TRAJECTORY:
                raw = display([trajectory], model_id)
            elif msgtype == ROBOT_TRAJECTORY:
                raw = serialize(trajectory, msgtype)
            else:
                raw = serialize(trajectory.joint_trajectory, msgtype)
            (segment,) = read(raw)
            same(segment, trajectory, carried[0])


@given(st.data())
def test_a_changed_message_is_read_as_field_by_field_or_not_at_all(data):
    rng = np.random.default_rng(0)
    read = PlanReader(DISPLAY_TRAJECTORY)
    raw = bytearray(display([robot_trajectory(["a", "b"], 4, rng)]))
    assert read(bytes(raw)) is not None
    end = raw.rindex(b"odom\0") + 16
    raw[data.draw(st.integers(0, end))] ^= 1 << data.draw(st.integers(0, 7))
    cut = bytes(raw[: data.draw(st.sampled_from([len(raw), end, end // 2]))])
    found, plain = read(cut), read_plan(cut)
    if plain is None:
        assert found is None
        return
    for one, other in zip(found, plain, strict=True):
        for field in fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_unknown_layouts_are_left_to_the_library():
    rng = np.random.default_rng(0)
    names = ["a", "b"]
    uneven = robot_trajectory(names, 3, rng)
    uneven.joint_trajectory.points[2].velocities = np.zeros(0)
    short = robot_trajectory(names, 2, rng)
    short.joint_trajectory.points[1].positions = np.zeros(1)
    read = PlanReader(DISPLAY_TRAJECTORY)
    assert read(display([robot_trajectory(names, 3, rng)])) is not None
    for trajectory in (uneven, short, robot_trajectory(names, 2, rng, multi_dof=1)):
        assert read_plan(display([trajectory])) is None
        assert read(display([trajectory])) is None


@given(st.integers(0, 400), st.integers(0, 99))
def test_truncated_messages_are_left_to_the_library(length, seed):
    plan = display([robot_trajectory(["a", "b"], 4, np.random.default_rng(seed))])
    end = plan.rindex(b"odom\0") + len(b"odom\0")
    read = PlanReader(DISPLAY_TRAJECTORY)
    read(plan)
    if length < end:
        assert read_plan(plan[:length]) is None
        assert read(plan[:length]) is None


def test_a_length_beyond_the_message_is_left_to_the_library():
    plan = bytearray(display([robot_trajectory(["a"], 1, np.random.default_rng(0))]))
    at = plan.index(b"a\0", plan.index(b"base_link") + 9) + 2
    at += -at % 4
    assert plan[at : at + 4] == (1).to_bytes(4, "little")
    plan[at : at + 4] = (2**32 - 1).to_bytes(4, "little")
    assert read_plan(bytes(plan)) is None
