"""Each plan gets the object's pose before it and the joint states after it, no more."""

import numpy as np
import pytest

from pipeline.recordings.recording import JointSample, ObjectPose, Obstacles, Plan, Unreadable
from pipeline.recordings.synchronize import synchronize

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))


def pose(seconds, x=0.4):
    return ObjectPose(
        int(seconds * 1e9), "base_link", np.array([x, 0, 0.2]), np.array([0.0, 0.0, 0.0, 1.0])
    )


def joints(seconds, value=0.0, names=JOINTS, velocity=True, stamp_s=0.0):
    position = np.full(len(names), value)
    stamp_ns = round(stamp_s * 1e9)
    return JointSample(
        round(seconds * 1e9), names, position, position if velocity else None, stamp_ns
    )


@pytest.fixture
def plan(segment):
    def make(seconds, index=0):
        return Plan("/display_planned_path", index, int(seconds * 1e9), (segment(),))

    return make


def test_a_plan_gets_the_latest_pose_at_or_before_it(plan):
    events = [pose(1, x=0.1), pose(2, x=0.2), plan(3), pose(4, x=0.4), plan(5), pose(5, x=0.5)]
    first, second = synchronize(events, JOINTS, 1.0)
    assert first.object_pose.position[0] == 0.2
    assert second.object_pose.position[0] == 0.5  # of the same instant, though written after


def test_a_plan_without_a_pose_before_it_gets_none(plan):
    (only,) = synchronize([plan(1), pose(2)], JOINTS, 1.0)
    assert only.object_pose is None
    assert only.execution is None


def test_joint_states_belong_to_the_plan_before_them_until_it_has_settled(plan):
    events = [
        joints(0.5),
        plan(1),
        joints(1.1, 0.1),
        joints(1.1, 0.2),  # logged together with the one before
        joints(3.1, 0.3),  # the plan takes 1.2 s, settling 1 s
        joints(3.3, 0.4),
        plan(4),
        joints(4.5, 0.5, velocity=False),
    ]
    first, second = synchronize(events, JOINTS, 1.0)
    np.testing.assert_allclose(first.execution.t, [0.1, 2.1])
    np.testing.assert_array_equal(first.execution.joint_pos[:, 0], [0.2, 0.3])
    np.testing.assert_array_equal(first.execution.final_pos, np.full(6, 0.4))
    np.testing.assert_array_equal(second.execution.joint_pos[:, 0], [0.5])
    assert np.isnan(second.execution.joint_vel).all()


def test_joint_states_of_other_joints_are_skipped_and_columns_sorted(plan):
    shuffled = ("gripper", *reversed(JOINTS))
    sample = JointSample(int(1.5e9), shuffled, np.arange(7.0), np.arange(7.0) * 10)
    (only,) = synchronize([plan(1), joints(1.2, 9.0, names=("gripper",)), sample], JOINTS, 1.0)
    np.testing.assert_array_equal(only.execution.joint_pos, [[6, 5, 4, 3, 2, 1]])
    np.testing.assert_array_equal(only.execution.joint_vel, [[60, 50, 40, 30, 20, 10]])


def test_unreadable_messages_are_yielded_unchanged(plan):
    broken = Unreadable("/x", 3, "DECODE_ERROR", "why")
    assert list(synchronize([broken], JOINTS, 1.0)) == [broken]


def test_only_one_plan_s_joint_states_are_kept_in_memory(plan):
    def endless():
        yield plan(0)
        for index in range(1, 50_000):
            yield joints(index * 0.02)

    (only,) = synchronize(endless(), JOINTS, 1.0)
    assert len(only.execution.t) == 110  # 2.2 s at 50 Hz


def drained(stamped):
    """500 Hz joint states that are logged in bursts, every 20 ms, by a clock 90 s ahead."""
    for number in range(400):
        measured_s = 1.002 + number * 0.002
        logged_s = 91.02 + 0.02 * (number // 10) + number % 10 * 1e-5
        yield joints(logged_s, measured_s, stamp_s=measured_s if stamped else 0.0)


def test_stamps_time_the_joint_states_of_a_recorder_that_logs_in_bursts(plan):
    (only,) = synchronize([plan(91), *drained(stamped=True)], JOINTS, 1.0)
    np.testing.assert_allclose(only.execution.t, only.execution.joint_pos[:, 0] - 1.0, atol=1e-4)
    assert len(only.execution.t) == 400


def test_joint_states_without_stamps_that_are_logged_together_count_once(plan):
    (only,) = synchronize([plan(91), *drained(stamped=False)], JOINTS, 1.0)
    late_s = only.execution.t - (only.execution.joint_pos[:, 0] - 1.0)
    assert len(only.execution.t) == 40
    assert np.abs(late_s).max() < 1e-4
    speed = np.diff(only.execution.joint_pos[:, 0]) / np.diff(only.execution.t)
    np.testing.assert_allclose(speed, 1.0)


def test_stamps_that_fall_are_not_used(plan):
    samples = [joints(1.1 + index * 0.02, index, stamp_s=5.0 - index) for index in range(4)]
    (only,) = synchronize([plan(1), *samples], JOINTS, 1.0)
    np.testing.assert_allclose(only.execution.t, [0.1, 0.12, 0.14, 0.16])


def test_the_obstacles_are_the_latest_at_the_plan_s_time(plan):
    around = [Obstacles(second * 10**9, np.zeros((second, 12))) for second in (1, 2, 3)]
    events = [plan(0), around[0], plan(2), around[1], around[2], plan(4)]
    first, second, third = synchronize(events, JOINTS, 1.0)
    assert first.obstacles is None
    assert second.obstacles is around[1]  # of the same instant, though written after
    assert third.obstacles is around[2]
