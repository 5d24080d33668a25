"""The arm's joints are picked out of each segment, and segments are joined where they meet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.recording import Segment
from pipeline.validation.rules import (
    Rejected,
    check_motion,
)
from pipeline.validation.segments import merge_segments

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))

T = np.linspace(0.0, 1.2, 13)
NONE = np.zeros(6, np.bool_)
CONTINUOUS = np.arange(6) == 5
LOWER, UPPER = np.full(6, -3.14), np.full(6, 3.14)


def result(segments, params, check=True):
    try:
        (motion,) = merge_segments(segments, JOINTS, NONE, params.ingest)
        if check:
            check_motion(motion, LOWER, UPPER, NONE, params.ingest)
    except Rejected as reason:
        return reason.code
    return motion


@given(order=st.permutations(range(8)))
def test_joints_are_found_by_name_in_any_order_and_others_dropped(order):
    names = [*JOINTS, "gripper_left", "gripper_right"]
    columns = np.arange(8.0) * 0.1 + np.arange(4.0)[:, None] * 0.05
    shuffled = Segment(
        tuple(names[index] for index in order), np.arange(4.0), columns[:, order], None
    )

    class Rules:
        min_points, segment_gap_rad, joint_prefix = 3, 0.01, None

    (motion,) = merge_segments([shuffled], JOINTS, NONE, Rules)
    np.testing.assert_array_equal(motion.joint_pos, columns[:, :6])
    assert motion.joint_vel is None


def test_segments_that_meet_are_joined_and_share_the_pose_between(segment, params):
    whole = segment()
    parts = [
        segment(**{n: getattr(whole, n)[cut] for n in ("t", "joint_pos", "joint_vel")})
        for cut in (slice(0, 6), slice(5, None))
    ]
    parts[1] = segment(
        t=parts[1].t - parts[1].t[0], joint_pos=parts[1].joint_pos, joint_vel=parts[1].joint_vel
    )
    gripper = Segment(("gripper",), np.array([0.0, 1.0]), np.zeros((2, 1)), None)
    motion = result([parts[0], gripper, parts[1]], params)
    np.testing.assert_allclose(motion.t, whole.t, atol=1e-12)
    np.testing.assert_array_equal(motion.joint_pos, whole.joint_pos)
    np.testing.assert_array_equal(motion.joint_vel, whole.joint_vel)


def test_segments_that_do_not_meet_are_refused(segment, params):
    gap = np.abs(segment().joint_pos[-1] - segment().joint_pos[0]).max()
    with pytest.raises(Rejected) as reason:
        merge_segments([segment(), segment()], JOINTS, NONE, params.ingest)
    assert str(reason.value) == f"SEGMENT_GAP: {gap:.4f} rad, expected 0.01 rad"
    assert reason.value.segment == 1


def test_segments_with_exactly_the_largest_gap_meet(segment, params):
    path, gap = segment().joint_pos, params.ingest.segment_gap_rad
    first = segment(joint_pos=path - path[-1])
    assert len(result([first, segment(joint_pos=path + gap)], params).t) == 25
    farther = segment(joint_pos=path + np.nextafter(gap, 1.0))
    assert result([first, farther], params) == "SEGMENT_GAP"


def test_velocities_are_those_of_both_segments_or_none(segment, params):
    whole, after = segment(), segment().joint_pos[-1] + segment().joint_pos
    after = after - segment().joint_pos[0]
    for first, second, known in ((None, None, False), (None, 1, False), (1, None, False),
                                 (1, 1, True)):  # fmt: skip
        parts = [segment(joint_vel=first and whole.joint_vel),
                 segment(joint_pos=after, joint_vel=second and 2 * whole.joint_vel)]  # fmt: skip
        motion = result(parts, params)
        assert (motion.joint_vel is not None) == known
        assert motion.t.tolist() == pytest.approx([*whole.t, *(1.2 + whole.t[1:])])
        assert (motion.segment, motion.joint_names) == (0, JOINTS)
    np.testing.assert_array_equal(motion.joint_vel[13:], 2 * whole.joint_vel[1:])


def test_a_way_point_written_twice_is_kept_once(segment, params):
    whole = segment()
    twice = np.repeat(np.arange(13), [1, 1, 2, *([1] * 10)])
    doubled = segment(
        t=whole.t[twice], joint_pos=whole.joint_pos[twice], joint_vel=whole.joint_vel[twice]
    )
    np.testing.assert_array_equal(result([doubled], params).t, whole.t)


def test_a_way_point_is_written_twice_up_to_a_rounding_of_its_time_and_place(segment, params):
    first, rest = np.zeros((2, 6)), segment().joint_pos[1:]
    for s, rad, found in ((1e-9, 1e-9, 13), (2e-9, 1e-9, 14), (0.0, 2e-9, "TIME_NOT_INCREASING")):
        first[1] = rad
        doubled = segment(
            t=np.array([0.0, s, *T[1:]]), joint_pos=np.vstack([first, rest]), joint_vel=None
        )
        motion = result([doubled], params)
        assert found == (motion if isinstance(motion, str) else len(motion.t))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"t": np.zeros(13)}, "TIME_ALL_ZERO: 13 points at 0 s, expected rising times"),
        ({"t": T[::-1].copy()}, "TIME_NOT_INCREASING: 1.1 s after 1.2 s, expected rising times"),
        (
            {"t": np.where(np.arange(13) == 5, T[4], T)},
            "TIME_NOT_INCREASING: 0.4 s after 0.4 s, expected rising times",
        ),
        (
            {"t": np.where(np.arange(13) == 5, np.nan, T)},
            "NONFINITE: time or position of point 5, expected finite numbers",
        ),
        (
            {"joint_names": (*JOINTS[:5], "other")},
            f"JOINT_MISSING: without joint_6, expected {', '.join(JOINTS)}",
        ),
        (
            {"joint_names": ("a", "b", "c", "d", "e", "f")},
            f"JOINT_MISSING: only a, b, c, d, e, f, gripper, expected {', '.join(JOINTS)}",
        ),
        (
            {"multi_dof": True},
            "MULTI_DOF: a trajectory of multi-DOF joints, expected revolute joints",
        ),
    ],
)
def test_segments_that_make_no_motion_are_refused(segment, params, changes, says):
    gripper = Segment(("gripper",), np.array([0.0, 1.0]), np.zeros((2, 1)), None)
    with pytest.raises(Rejected) as reason:
        merge_segments([gripper, segment(**changes)], JOINTS, NONE, params.ingest)
    assert str(reason.value) == says
    assert reason.value.segment == (None if "only" in says else 1)


def test_a_position_that_is_not_finite_is_refused_with_its_point(segment, params):
    position = segment().joint_pos.copy()
    position[7, 2] = np.inf
    with pytest.raises(Rejected, match="point 7"):
        merge_segments([segment(joint_pos=position)], JOINTS, NONE, params.ingest)


def test_no_segments_at_all_are_too_short(params):
    with pytest.raises(Rejected, match="TOO_SHORT: 0 points, expected 3 points"):
        merge_segments([], JOINTS, NONE, params.ingest)


def test_prefixed_joints_are_found_unless_two_arms_match(segment, params):
    prefixed = segment(joint_names=tuple("arm_" + name for name in JOINTS))
    np.testing.assert_array_equal(result([prefixed], params).joint_pos, segment().joint_pos)
    both = Segment(
        tuple(side + name for side in ("l_", "r_") for name in JOINTS),
        segment().t, np.hstack([segment().joint_pos] * 2), None,
    )  # fmt: skip
    with pytest.raises(Rejected, match=r"l_joint_1 and r_joint_1 both fit: .*joint_prefix"):
        merge_segments([both], JOINTS, NONE, params.ingest)
    rules = params.override("ingest", joint_prefix="r_").ingest
    assert len(merge_segments([both], JOINTS, NONE, rules)) == 1


def test_a_gripper_with_a_similar_joint_name_is_skipped(segment, params):
    gripper = Segment(("gripper_joint_1",), np.arange(2.0), np.zeros((2, 1)), None)
    np.testing.assert_array_equal(
        result([gripper, segment()], params).joint_pos, segment().joint_pos
    )


def test_segments_that_do_not_meet_are_split_when_asked_for(segment, params):
    rules = params.override("ingest", segment_gaps="split").ingest
    first, second = merge_segments([segment(), segment()], JOINTS, NONE, rules)
    assert (first.segment, second.segment) == (0, 1)
    np.testing.assert_array_equal(second.joint_pos, segment().joint_pos)


@given(turns=st.lists(st.integers(-3, 3), min_size=13, max_size=13))
def test_turns_are_removed_from_continuous_joints_alone(turns):
    class Rules:
        min_points, segment_gap_rad, joint_prefix = 3, 0.01, None

    t = np.arange(13.0)
    smooth = np.linspace(0, 5.0, 13)[:, None] * np.ones(6)
    wrapped = smooth.copy()
    wrapped[:, 5] += 2 * np.pi * np.array(turns)
    (motion,) = merge_segments([Segment(JOINTS, t, wrapped, None)], JOINTS, CONTINUOUS, Rules)
    np.testing.assert_allclose(
        np.diff(motion.joint_pos, axis=0), np.diff(smooth, axis=0), atol=1e-9
    )
    np.testing.assert_array_equal(motion.joint_pos[:, :5], smooth[:, :5])


def test_segments_meet_across_a_turn_of_a_continuous_joint(segment, params):
    whole = segment()
    second = whole.joint_pos[6:].copy()
    second[:, 5] += 2 * np.pi
    parts = [
        segment(t=whole.t[:7], joint_pos=whole.joint_pos[:7], joint_vel=whole.joint_vel[:7]),
        segment(t=whole.t[6:], joint_pos=second, joint_vel=whole.joint_vel[6:]),
    ]
    (motion,) = merge_segments(parts, JOINTS, CONTINUOUS, params.ingest)
    np.testing.assert_allclose(motion.joint_pos, whole.joint_pos, atol=1e-9)
    with pytest.raises(Rejected, match="SEGMENT_GAP"):
        merge_segments(parts, JOINTS, NONE, params.ingest)
