"""Segments are joined where they meet, and a motion that breaks a rule is refused by code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.recording import Segment
from pipeline.validation.rules import (
    Motion,
    Rejected,
    check_motion,
    idle_ends,
    mend_velocity,
    merge_segments,
)

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))

NONE = np.zeros(6, np.bool_)
LOWER, UPPER = np.full(6, -3.14), np.full(6, 3.14)


def verdict(segments, params, check=True):
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
    motion = verdict([parts[0], gripper, parts[1]], params)
    np.testing.assert_allclose(motion.t, whole.t, atol=1e-12)
    np.testing.assert_array_equal(motion.joint_pos, whole.joint_pos)
    np.testing.assert_array_equal(motion.joint_vel, whole.joint_vel)


def test_segments_that_do_not_meet_are_refused(segment, params):
    assert verdict([segment(), segment()], params) == "SEGMENT_GAP"


def test_a_way_point_written_twice_is_kept_once(segment, params):
    whole = segment()
    twice = np.repeat(np.arange(13), [1, 1, 2, *([1] * 10)])
    doubled = segment(
        t=whole.t[twice], joint_pos=whole.joint_pos[twice], joint_vel=whole.joint_vel[twice]
    )
    np.testing.assert_array_equal(verdict([doubled], params).t, whole.t)


T = np.linspace(0.0, 1.2, 13)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"t": np.zeros(13)}, "TIME_ALL_ZERO"),
        ({"t": T[::-1].copy()}, "TIME_NOT_INCREASING"),
        ({"t": np.where(np.arange(13) == 5, T[4], T)}, "TIME_NOT_INCREASING"),
        ({"t": np.where(np.arange(13) == 5, np.nan, T)}, "NONFINITE"),
        ({"joint_names": (*JOINTS[:5], "other")}, "JOINT_MISSING"),
        ({"joint_names": ("a", "b", "c", "d", "e", "f")}, "JOINT_MISSING"),
        ({"multi_dof": True}, "MULTI_DOF"),
    ],
)
def test_segments_that_make_no_motion_are_refused(segment, params, changes, code):
    assert verdict([segment(**changes)], params, check=False) == code


def test_a_position_that_is_not_finite_is_refused_with_its_point(segment, params):
    position = segment().joint_pos.copy()
    position[7, 2] = np.inf
    with pytest.raises(Rejected, match="point 7"):
        merge_segments([segment(joint_pos=position)], JOINTS, NONE, params.ingest)


@pytest.mark.parametrize("points", [0, 1, 2])
def test_too_few_points_are_refused(segment, params, points):
    whole = segment()
    short = {n: getattr(whole, n)[:points] for n in ("t", "joint_pos", "joint_vel")}
    assert verdict([segment(**short)], params) == "TOO_SHORT"


def test_no_segments_at_all_are_too_short(params):
    assert verdict([], params) == "TOO_SHORT"


def test_standing_still_is_refused(segment, params):
    assert verdict([segment(joint_pos=np.full((13, 6), 0.3))], params) == "NO_MOTION"


def test_degrees_are_suspected_where_radians_would_fit(segment, params):
    assert verdict([segment(joint_pos=np.rad2deg(segment().joint_pos))], params) == (
        "SUSPECT_DEGREES"
    )


def test_a_joint_outside_its_limits_is_named(segment, params):
    position = segment().joint_pos.copy()
    position[:, 3] += 3.2
    with pytest.raises(Rejected, match=r"joint 4.*-3\.14"):
        check_motion(
            merge_segments([segment(joint_pos=position)], JOINTS, NONE, params.ingest)[0],
            LOWER,
            UPPER,
            NONE,
            params.ingest,
        )


def test_a_joint_within_the_tolerance_of_its_limit_is_taken(segment, params):
    position = segment().joint_pos.copy()
    position[-1, 3] = 3.14 + params.ingest.limit_tolerance_rad / 2
    assert not isinstance(verdict([segment(joint_pos=position)], params), str)


def test_a_jump_of_a_turn_is_refused(segment, params):
    position = np.linspace(2.5, 3.1, 13)[:, None] * np.ones(6)
    position[8:] -= 6.0
    assert verdict([segment(joint_pos=position)], params) == "WRAP_JUMP"


def test_velocities_that_fit_are_kept(segment):
    whole = segment()
    velocity, finding = mend_velocity(whole.t, whole.joint_pos, whole.joint_vel, 0.25)
    assert velocity is whole.joint_vel
    assert finding is None


@pytest.mark.parametrize(
    ("bend", "code"),
    [
        (lambda velocity: None, "VEL_DERIVED"),
        (lambda velocity: np.where(np.arange(6) == 2, np.nan, velocity), "VEL_DERIVED"),
        (lambda velocity: velocity + 1.0, "VEL_INCONSISTENT"),
    ],
)
def test_velocities_that_are_missing_or_wrong_are_differentiated(segment, bend, code):
    whole = segment()
    velocity, finding = mend_velocity(whole.t, whole.joint_pos, bend(whole.joint_vel), 0.25)
    assert finding[0] == code
    np.testing.assert_allclose(velocity, whole.joint_vel, atol=0.05)


def test_a_cusp_in_an_otherwise_good_plan_is_mended_where_it_stands():
    t = np.linspace(0.0, 4.0, 200)
    position = np.sin(t)[:, None] * np.ones(6)
    velocity = np.cos(t)[:, None] * np.ones(6)
    bent = velocity.copy()
    bent[100] += 1.0
    mended, finding = mend_velocity(t, position, bent, 0.25)
    assert finding[0] == "CUSP"
    assert finding[1] == "0.5000 rad/s off in 2 of 199 intervals, at 1.990 s"
    np.testing.assert_allclose(mended, velocity, atol=1e-3)
    np.testing.assert_array_equal(mended[:99], velocity[:99])


def test_prefixed_joints_are_found_and_two_arms_are_not_chosen_between(segment, params):
    prefixed = segment(joint_names=tuple("arm_" + name for name in JOINTS))
    np.testing.assert_array_equal(verdict([prefixed], params).joint_pos, segment().joint_pos)
    both = Segment(
        tuple(side + name for side in ("l_", "r_") for name in JOINTS),
        segment().t, np.hstack([segment().joint_pos] * 2), None,
    )  # fmt: skip
    with pytest.raises(Rejected, match=r"l_joint_1 and r_joint_1 both fit: .*joint_prefix"):
        merge_segments([both], JOINTS, NONE, params.ingest)
    rules = params.override("ingest", joint_prefix="r_").ingest
    assert len(merge_segments([both], JOINTS, NONE, rules)) == 1


def test_a_gripper_whose_joint_sounds_like_the_arm_s_is_passed_over(segment, params):
    gripper = Segment(("gripper_joint_1",), np.arange(2.0), np.zeros((2, 1)), None)
    np.testing.assert_array_equal(
        verdict([gripper, segment()], params).joint_pos, segment().joint_pos
    )


def test_segments_that_do_not_meet_are_split_when_asked_for(segment, params):
    rules = params.override("ingest", segment_gaps="split").ingest
    first, second = merge_segments([segment(), segment()], JOINTS, NONE, rules)
    assert (first.segment, second.segment) == (0, 1)
    np.testing.assert_array_equal(second.joint_pos, segment().joint_pos)


CONTINUOUS = np.arange(6) == 5


@given(turns=st.lists(st.integers(-3, 3), min_size=13, max_size=13))
def test_turns_are_taken_out_of_continuous_joints_alone(turns):
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


@given(before=st.integers(0, 20), after=st.integers(0, 20), steps=st.integers(2, 20))
def test_idle_ends_leave_one_still_sample_on_either_side(before, after, steps):
    moving = np.linspace(0, 1, steps)
    path = np.concatenate([np.zeros(before), moving, np.ones(after)])[:, None]
    kept = idle_ends((path,), 0.001)
    assert (kept.start, kept.stop) == (before, before + steps)
    assert idle_ends((path,), 0.0) == slice(0, len(path))


def test_a_command_that_moves_first_counts_as_motion():
    command = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])[:, None]
    actual = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 1.0])[:, None]
    assert idle_ends((actual, command), 0.001) == slice(1, 5)


def test_nothing_that_moves_is_kept_whole():
    assert idle_ends((np.zeros((5, 2)),), 0.001) == slice(0, 5)


@pytest.mark.parametrize(
    ("position", "code", "says"),
    [
        ([0.7, 1.0], "LIMIT_VIOLATION", "0.70000 m at point 2, joint 1"),
        ([0.2, 4.0], "LIMIT_VIOLATION", "4.00000 rad at point 2, joint 2"),
        ([0.2, 90.0], "SUSPECT_DEGREES", "90.00"),
        ([90.0, 1.0], "LIMIT_VIOLATION", "90.00000 m"),
    ],
)
def test_a_sliding_joint_is_spoken_of_in_metres(params, position, code, says):
    path = np.linspace([0.0, 0.0], position, 3)
    motion = Motion(np.arange(3.0), path, None, 0, ("rail", "turn"))
    limits, sliding = np.array([0.5, 2.0]), np.array([True, False])
    with pytest.raises(Rejected) as reason:
        check_motion(motion, -limits, limits, sliding, params.ingest)
    assert reason.value.code == code and says in reason.value.value
