from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.robot.retime import Plan, parameterise, round_corners

Array = NDArray[np.float64]
VELOCITY = np.array([2.0, 2.5, 4.0])
ACCELERATION = np.array([2.0, 3.0, 4.0])


@st.composite
def waypoints(draw: st.DrawFn) -> Array:
    """Two to five waypoints of three joints; neighbours are distinct."""
    number = draw(st.integers(1, 4))
    elements = st.floats(-1.5, 1.5).filter(lambda x: abs(x) > 0.01)
    steps = draw(arrays(np.float64, (number, 3), elements=elements))
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])


@given(waypoints(), st.floats(0.01, 0.5))
def test_rounded_corners_stay_near_them(points: Array, deviation: float) -> None:
    path = round_corners(points, deviation)
    assert path(0) == pytest.approx(points[0])
    assert path(path.x[-1]) == pytest.approx(points[-1])
    s = np.linspace(0, path.x[-1], 2000)
    curve = path(s)
    # No kink: the tangent changes by no more than curvature times step.
    inner = path.x[1:-1]
    assert path(inner - 1e-9, nu=1) == pytest.approx(path(inner + 1e-9, nu=1), abs=1e-5)
    for corner in points:
        nearest = np.linalg.norm(curve - corner, axis=1).min()
        assert nearest <= deviation + path.x[-1] / 2000


@settings(max_examples=25)
@given(waypoints())
def test_plans_keep_the_limits_from_rest_to_rest(points: Array) -> None:
    plan = parameterise(points, VELOCITY, ACCELERATION, 0.1, 0.1)
    assert plan is not None
    assert plan.joint_pos[0] == pytest.approx(points[0])
    assert plan.joint_pos[-1] == pytest.approx(points[-1])
    assert np.diff(plan.t)[:-1] == pytest.approx(0.1)
    # A last interval of less than a thousandth joins the one before it.
    assert 0 < np.diff(plan.t)[-1] <= 0.1 * (1 + 1e-3) + 1e-9
    assert plan.joint_vel[[0, -1]] == pytest.approx(0.0)
    assert (np.abs(plan.joint_vel) <= VELOCITY * (1 + 1e-6)).all()
    assert (np.abs(plan.joint_acc) <= ACCELERATION * (1 + 1e-6)).all()


def test_a_straight_motion_is_as_fast_as_a_trapezoid() -> None:
    goal = np.array([3.0, 0.2, -0.4])
    plan = parameterise(np.stack([np.zeros(3), goal]), VELOCITY, ACCELERATION, 0.1, 0.1)
    assert plan is not None
    # Joint 1 is the slowest: it reaches 2 rad/s after 1 s and covers 3 rad in 2.5 s.
    assert plan.duration_s == pytest.approx(3.0 / 2.0 + 2.0 / 2.0, rel=1e-3)
    motion = plan.sample(np.linspace(0, plan.duration_s, 300))
    assert motion == pytest.approx(motion[:, :1] / 3.0 * goal, abs=1e-9)


def test_samples_pass_through_the_points_and_stay_at_the_last() -> None:
    points = np.array([[0.0, 0.0, 0.0], [0.5, 1.0, -1.0], [1.0, 0.0, 0.3]])
    plan = parameterise(points, VELOCITY, ACCELERATION, 0.1, 0.1)
    assert plan is not None
    assert plan.sample(plan.t) == pytest.approx(plan.joint_pos)
    inside = plan.t[:-1]
    assert plan.sample(inside, 1) == pytest.approx(plan.joint_vel[:-1])
    assert plan.sample(inside, 2) == pytest.approx(plan.joint_acc[:-1], abs=1e-6)
    after = plan.duration_s + np.array([0.01, 10.0])
    assert plan.sample(after) == pytest.approx(np.stack([points[-1]] * 2))
    assert plan.sample(after, 1).tolist() == [[0, 0, 0]] * 2


def test_between_points_the_controller_keeps_to_the_speed_limit() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (4, 3))
    plan = parameterise(points, VELOCITY, ACCELERATION, 0.1, 0.1)
    assert plan is not None
    speed = np.abs(plan.sample(np.linspace(0, plan.duration_s, 1000), 1))
    assert (speed <= 1.05 * VELOCITY).all()


def test_coinciding_waypoints_are_merged() -> None:
    a, b = np.zeros(3), np.ones(3)
    plan = parameterise(np.stack([a, a, b, b]), VELOCITY, ACCELERATION, 0.1, 0.1)
    other = parameterise(np.stack([a, b]), VELOCITY, ACCELERATION, 0.1, 0.1)
    assert plan is not None
    assert other is not None
    assert plan.joint_pos == pytest.approx(other.joint_pos)


def test_a_path_without_length_is_one_point() -> None:
    plan = parameterise(np.ones((2, 3)), VELOCITY, ACCELERATION, 0.1, 0.1)
    assert isinstance(plan, Plan)
    assert plan.duration_s == 0
    assert plan.sample(np.array([0.0, 1.0])).tolist() == [[1, 1, 1]] * 2
