"""Streams of joints are segmented at pauses, marks and new goals."""

import numpy as np
import pytest

from pipeline.recordings.recording import JointSample, Mark, ObjectPose, TrackingSample, Unreadable
from pipeline.recordings.segment import SegmentRules, segment_motions

JOINTS = ("joint_1", "joint_2")
S = 10**9


def joints(seconds, value=0.0, names=JOINTS, stamp=0.0, topic="/joint_states", message=0):
    row = np.arange(len(names)) + value
    return JointSample(int(seconds * S), tuple(names), row, row * 2, int(stamp * S), topic, message)


def tracked(seconds, goal="", names=JOINTS, stamp=0.0):
    row = np.arange(len(names)) + seconds
    return TrackingSample(
        "/feedback", 0, int(seconds * S), int(stamp * S), goal, tuple(names), row, None,
        row - 0.1, row * 3,
    )  # fmt: skip


def pose(seconds):
    return ObjectPose(int(seconds * S), "base_link", np.full(3, seconds), np.array([0, 0, 0, 1.0]))


def run(*messages, gap_s=1.0, prefix=None):
    marked = any(isinstance(message, Mark) for message in messages)
    rules = SegmentRules(gap_s, onset_rad=0.01, marked=marked)
    return list(segment_motions(messages, JOINTS, prefix, rules))


def test_a_pause_ends_a_motion_and_the_pose_is_the_one_at_its_start():
    first, second = run(
        pose(0), joints(1), joints(1.5, 0.1), pose(1.7), joints(2.0, 0.2),
        joints(5), joints(5.5, 0.1),
    )  # fmt: skip
    assert [len(each.plan.segments[0].t) for each in (first, second)] == [3, 2]
    np.testing.assert_allclose(first.plan.segments[0].t, [0.0, 0.5, 1.0])
    assert first.object_pose.log_time_ns == 0
    assert second.object_pose.log_time_ns == int(1.7 * S)
    assert second.plan.log_time_ns == 5 * S
    assert first.plan.measured
    assert first.execution is None
    assert first.derived == ("times from the log", "command from measured joints")


def test_a_pose_that_comes_just_after_the_first_sample_belongs_to_the_motion():
    (only,) = run(joints(1), pose(1.033), joints(1.1), joints(1.2, 0.1), joints(1.3, 0.2))
    assert only.object_pose.log_time_ns == int(1.033 * S)


def test_the_pose_is_the_latest_before_the_arm_moves():
    (only,) = run(
        pose(0), joints(1), pose(1.1), joints(1.2, 0.005), pose(1.25), joints(1.3, 0.02),
        pose(1.35), joints(1.4, 0.1),
    )  # fmt: skip
    assert only.object_pose.log_time_ns == int(1.25 * S)


def test_a_pose_after_the_arm_moved_does_not_belong_to_the_motion():
    (only,) = run(joints(1), joints(1.1, 0.02), pose(1.15), joints(1.2, 0.2))
    assert only.object_pose is None


def test_joints_are_found_in_any_order_and_a_gripper_s_are_skipped():
    (only,) = run(
        joints(1.0, names=("joint_2", "rail", "joint_1")),
        joints(1.1, names=("finger",)),
        joints(1.2, names=("joint_1", "joint_2")),
    )
    (segment,) = only.plan.segments
    assert segment.joint_names == ("joint_1", "joint_2")
    np.testing.assert_array_equal(segment.joint_pos, [[2.0, 0.0], [0.0, 1.0]])


def test_stamps_are_preferred_to_the_times_of_the_log():
    (only,) = run(*[joints(1 + 0.1 * i, stamp=50 + 0.2 * i) for i in range(4)])
    np.testing.assert_allclose(only.plan.segments[0].t, [0.0, 0.2, 0.4, 0.6], atol=1e-9)
    assert only.derived == ("command from measured joints",)


@pytest.mark.parametrize("stamps", [[50, 0, 50.4], [50, 49, 51], [50, 50, 50]])
def test_stamps_that_do_not_rise_are_not_used(stamps):
    (only,) = run(*[joints(1 + 0.1 * i, stamp=stamp) for i, stamp in enumerate(stamps)])
    np.testing.assert_allclose(only.plan.segments[0].t, [0.0, 0.1, 0.2], atol=1e-9)
    assert "times from the log" in only.derived


def test_messages_that_a_recorder_wrote_late_and_together_are_one_motion():
    """The log pauses for 3 s while the stamps go on every 0.1 s."""
    late = [joints(1 + (3 if i >= 5 else 0) + 0.001 * i, 0.1 * i, stamp=50 + 0.1 * i)
            for i in range(10)]  # fmt: skip
    (only,) = run(*late)
    np.testing.assert_allclose(np.diff(only.plan.segments[0].t), 0.1)


def test_a_pause_of_the_stamps_ends_a_motion_though_the_log_shows_none():
    stamps = [50, 50.1, 50.2, 55, 55.1, 55.2]
    first, second = run(*[joints(1 + 0.1 * i, stamp=stamp) for i, stamp in enumerate(stamps)])
    assert [len(each.plan.segments[0].t) for each in (first, second)] == [3, 3]


def test_a_repeated_sample_is_kept_once():
    (only,) = run(joints(1), joints(1), joints(1.1))
    assert len(only.plan.segments[0].t) == 2


def test_samples_between_an_end_and_the_next_start_are_left_out():
    start, end = Mark(0, "start"), Mark(0, "end")
    messages = [end, joints(1.0), start, joints(1.1), joints(1.2), end, joints(1.3), joints(1.4)]
    (only,) = run(*messages)
    np.testing.assert_allclose(only.plan.segments[0].t, [0.0, 0.1])
    assert only.plan.log_time_ns == int(1.1 * S)


@pytest.mark.parametrize("pause_s", [0.1, 5.0])
def test_nothing_before_a_first_mark_that_is_a_start_is_a_motion(pause_s):
    after = 1.1 + pause_s
    (only,) = run(joints(1), joints(1.1), Mark(int(after * S), "start"), joints(after),
                  joints(after + 0.1), joints(after + 0.2))  # fmt: skip
    assert only.plan.log_time_ns == int(after * S)
    assert len(only.plan.segments[0].t) == 3


@pytest.mark.parametrize("pause_s", [0.1, 5.0])
@pytest.mark.parametrize("kind", ["end", "next"])
def test_samples_before_a_first_mark_of_another_kind_are_a_motion(kind, pause_s):
    first, *_ = run(joints(1), joints(1.1), joints(1.2 + pause_s), joints(1.3 + pause_s),
                    Mark(8 * S, kind), joints(8.1), joints(8.2))  # fmt: skip
    assert first.plan.log_time_ns == S


def test_a_mark_of_the_next_episode_ends_one_and_begins_one():
    first, second = run(joints(1), joints(1.1), Mark(0, "next"), joints(1.2), joints(1.3))
    assert [len(each.plan.segments[0].t) for each in (first, second)] == [2, 2]


def test_a_new_goal_is_a_new_motion_with_its_execution():
    first, second = run(tracked(1, "a"), tracked(1.1, "a"), tracked(1.2, "b"), tracked(1.3, "b"))
    assert not first.plan.measured
    np.testing.assert_allclose(first.execution.joint_pos, first.plan.segments[0].joint_pos - 0.1)
    np.testing.assert_array_equal(first.execution.t, first.plan.segments[0].t)
    np.testing.assert_allclose(second.execution.joint_vel[0], [3.6, 6.6])
    assert first.plan.segments[0].joint_vel is None


def test_two_topics_with_the_same_joints_are_two_motions():
    messages = [joints(1 + 0.1 * i, topic=f"/{side}/joint_states") for i in range(5)
              for side in ("left", "right")]  # fmt: skip
    found = run(*messages)
    assert [(each.plan.topic, len(each.plan.segments[0].t)) for each in found] == [
        ("/left/joint_states", 5), ("/right/joint_states", 5),
    ]  # fmt: skip


def test_a_prefix_chooses_the_arm():
    names = ("left_joint_1", "left_joint_2", "right_joint_1", "right_joint_2")
    (refused,) = run(joints(1, names=names), joints(1.1, names=names))
    assert "both fit: name one in ingest.joint_prefix" in refused.value
    (only,) = run(joints(1, names=names), joints(1.1, names=names), prefix="right_")
    np.testing.assert_array_equal(only.plan.segments[0].joint_pos[0], [2.0, 3.0])


def test_unreadable_messages_are_passed_on():
    broken = Unreadable("/joint_states", 3, "DECODE_ERROR", "why")
    assert run(joints(1), broken, joints(1.1))[0] is broken


def test_joints_of_another_arm_are_reported():
    (only,) = run(joints(1, names=("axis_1", "axis_2")), joints(1.1, names=("axis_1", "axis_2")))
    assert (only.code, only.message) == ("JOINT_MISSING", None)
    assert only.value == "/joint_states names axis_1, axis_2: without joint_1, joint_2"
