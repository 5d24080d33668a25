"""A motion that breaks a rule is rejected with its code."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.validation.rules import (
    Motion,
    Rejected,
    check_motion,
    idle_ends,
    measure_extent,
    mend_velocity,
)
from pipeline.validation.segments import merge_segments

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))

NONE = np.zeros(6, np.bool_)
LOWER, UPPER = np.full(6, -3.14), np.full(6, 3.14)


def result(segments, params, check=True):
    try:
        (motion,) = merge_segments(segments, JOINTS, NONE, params.ingest)
        if check:
            check_motion(motion, LOWER, UPPER, NONE, params.ingest)
    except Rejected as reason:
        return reason.code
    return motion


@pytest.mark.parametrize("points", [0, 1, 2])
def test_too_few_points_are_refused(segment, params, points):
    whole = segment()
    short = {n: getattr(whole, n)[:points] for n in ("t", "joint_pos", "joint_vel")}
    assert result([segment(**short)], params) == "TOO_SHORT"


def test_standing_still_is_refused(segment, params):
    assert result([segment(joint_pos=np.full((13, 6), 0.3))], params) == "NO_MOTION"


def test_degrees_are_suspected_where_radians_would_fit(segment, params):
    assert result([segment(joint_pos=np.rad2deg(segment().joint_pos))], params) == (
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


def test_a_joint_within_the_tolerance_of_its_limit_is_accepted(segment, params):
    position = segment().joint_pos.copy()
    position[-1, 3] = 3.14 + params.ingest.limit_tolerance_rad / 2
    assert not isinstance(result([segment(joint_pos=position)], params), str)


def test_a_jump_of_a_turn_is_refused(segment, params):
    position = np.linspace(2.5, 3.1, 13)[:, None] * np.ones(6)
    position[8:] -= 6.0
    assert result([segment(joint_pos=position)], params) == "WRAP_JUMP"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ([[0.0, 0.0], [0.1, 0.1]], "TOO_SHORT: 2 points, expected 3 points"),
        (
            [[0.0, 0.0], [1.0, 3.5], [0.0, 3.2]],
            "LIMIT_VIOLATION: 3.50000 rad at point 1, joint 2, expected -3.14000 … 3.14000 rad",
        ),
        (
            [[-3.2, 0.0], [0.0, 0.0], [0.0, 0.0]],
            "LIMIT_VIOLATION: -3.20000 rad at point 0, joint 1, expected -3.14000 … 3.14000 rad",
        ),
        ([[0.0, 1.0], [0.0, 90.0], [0.0, -30.0]], "SUSPECT_DEGREES: 90.00, expected radians"),
        ([[0.0, 1.0], [0.0, 179.95], [0.0, 0.0]], "SUSPECT_DEGREES: 179.95, expected radians"),
        (
            [[0.0, 1.0], [0.0, 400.0], [0.0, -30.0]],
            "LIMIT_VIOLATION: 400.00000 rad at point 1, joint 2, expected -3.14000 … 3.14000 rad",
        ),
        (
            [[-1.0, 0.0], [-0.9, 0.0], [2.25, 0.0]],
            "WRAP_JUMP: 3.1500 rad, expected 3.0 rad",
        ),
        ([[0.5, 0.5], [0.502, 0.5], [0.5, 0.5]], "NO_MOTION: 0.002000 rad, expected 0.01 rad"),
    ],
)
def test_a_rejection_says_what_was_found_and_expected(params, path, says):
    motion = Motion(np.arange(float(len(path))), np.array(path), None, 4, JOINTS[:2])
    with pytest.raises(Rejected) as reason:
        check_motion(motion, LOWER[:2], UPPER[:2], NONE[:2], params.ingest)
    assert str(reason.value) == says
    assert reason.value.segment == 4


@pytest.mark.parametrize("path", [[0.0, 0.01, 0.0], [-1.5, 1.5, 1.5]], ids=["span", "jump"])
def test_what_is_exactly_at_a_limit_is_accepted(params, path):
    motion = Motion(np.arange(3.0), np.array(path)[:, None], None, 0, ("turn",))
    check_motion(motion, LOWER[:1], UPPER[:1], NONE[:1], params.ingest)


def test_steps_and_ranges_are_those_of_each_motion_alone():
    paths = np.array([0.0, 0.1, 0.3, 2.0, 2.5, 4.0, -1.0])[:, None]
    extent = measure_extent(paths, np.array([0, 3, 5]), np.array([-0.5]), np.array([3.0]))
    np.testing.assert_allclose(extent.jump_rad, [0.2, 0.5, 5.0])
    np.testing.assert_allclose(extent.span_rad, [0.3, 0.5, 5.0])
    np.testing.assert_allclose(extent.excess_rad, [-0.5, -0.5, 1.0])


def test_velocities_that_fit_are_kept(segment):
    whole = segment()
    velocity, finding = mend_velocity(whole.t, whole.joint_pos, whole.joint_vel, 0.25)
    assert velocity is whole.joint_vel
    assert finding is None


@pytest.mark.parametrize(
    ("bend", "says"),
    [
        (lambda velocity: None, ("VEL_DERIVED", "no velocities", "finite velocities")),
        (
            lambda velocity: np.where(np.arange(6) == 2, np.nan, velocity),
            ("VEL_DERIVED", "velocities that are not finite", "finite velocities"),
        ),
        (lambda velocity: velocity + 10.0, ("VEL_INCONSISTENT", "1.00", "0.25 rad/s")),
    ],
)
def test_velocities_that_are_missing_or_wrong_are_differentiated(segment, bend, says):
    whole = segment()
    velocity, finding = mend_velocity(whole.t, whole.joint_pos, bend(whole.joint_vel), 0.25)
    assert finding[0] == says[0] and finding[2] == says[2]
    assert finding[1] == says[1] or re.fullmatch(r"10\.0\d\d\d rad/s off", finding[1])
    np.testing.assert_allclose(velocity, whole.joint_vel, atol=0.05)


def test_only_the_wrong_velocities_of_a_cusp_are_replaced():
    t = np.linspace(0.0, 4.0, 200)
    position = np.sin(t)[:, None] * np.ones(6)
    velocity = np.cos(t)[:, None] * np.ones(6)
    bent = velocity.copy()
    bent[100] += 1.0
    mended, finding = mend_velocity(t, position, bent, 0.25)
    assert finding == (
        "CUSP", "0.5000 rad/s off in 2 of 199 intervals, at 1.990 s", "0.25 rad/s"
    )  # fmt: skip
    np.testing.assert_allclose(mended, velocity, atol=1e-3)
    np.testing.assert_array_equal(mended[:99], velocity[:99])


@pytest.mark.parametrize(("wrong", "at"), [([0], 0), ([100, 101], 100), ([199], 198)])
def test_the_velocities_on_either_side_of_a_single_wrong_interval_are_replaced(wrong, at):
    t = np.linspace(0.0, 4.0, 200)
    velocity = np.cos(t)[:, None]
    bent = velocity.copy()
    bent[wrong] += 0.8 / len(wrong)
    mended, finding = mend_velocity(t, np.sin(t)[:, None], bent, 0.3)
    assert finding[1] == f"0.4000 rad/s off in 1 of 199 intervals, at {t[at]:.3f} s"
    np.testing.assert_allclose(mended, velocity, atol=1e-3)


@given(before=st.integers(0, 20), after=st.integers(0, 20), steps=st.integers(2, 20))
def test_idle_ends_leave_one_sample_at_rest_on_either_side(before, after, steps):
    moving = np.linspace(0, 1, steps)
    path = 0.5 + np.concatenate([np.zeros(before), moving, np.ones(after)])[:, None]
    kept = idle_ends((path,), 0.001)
    assert (kept.start, kept.stop) == (before, before + steps)
    assert idle_ends((path,), 0.0) == slice(0, len(path))


def test_a_command_that_moves_first_counts_as_motion():
    command = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])[:, None]
    actual = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 1.0])[:, None]
    assert idle_ends((actual, command), 0.001) == slice(1, 5)


def test_a_path_at_rest_is_kept_whole():
    assert idle_ends((np.zeros((5, 2)),), 0.001) == slice(0, 5)


@pytest.mark.parametrize(
    ("position", "rail_m", "code", "says"),
    [
        ([0.7, 1.0], 0.5, "LIMIT_VIOLATION", "0.70000 m at point 2, joint 1"),
        ([0.2, 4.0], 0.5, "LIMIT_VIOLATION", "4.00000 rad at point 2, joint 2"),
        ([0.2, 90.0], 0.5, "SUSPECT_DEGREES", "90.00"),
        ([90.0, 1.0], 0.5, "LIMIT_VIOLATION", "90.00000 m"),
        ([10.0, 4.0], 20.0, "LIMIT_VIOLATION", "4.00000 rad at point 2, joint 2"),
    ],
)
def test_a_prismatic_joint_is_reported_in_metres(params, position, rail_m, code, says):
    path = np.linspace([0.0, 0.0], position, 3)
    motion = Motion(np.arange(3.0), path, None, 0, ("rail", "turn"))
    limits, sliding = np.array([rail_m, 2.0]), np.array([True, False])
    with pytest.raises(Rejected) as reason:
        check_motion(motion, -limits, limits, sliding, params.ingest)
    assert reason.value.code == code and says in reason.value.value
