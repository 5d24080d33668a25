"""Segments are joined where they meet, and a motion that breaks a rule is refused by code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.motion import Rejected, check_motion, mend_velocity, merge_segments
from pipeline.data.recording import Segment

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))

NONE = np.zeros(6, np.bool_)
LOWER, UPPER = np.full(6, -3.14), np.full(6, 3.14)


def verdict(segments, params, check=True):
    try:
        (motion,) = merge_segments(segments, JOINTS, NONE, params.ingest)
        if check:
            check_motion(motion, LOWER, UPPER, params.ingest)
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
