"""The limiter: nothing past a limit, nothing changed without need, never stuck."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.kinematics import JointLimits
from pipeline.runtime.limiter import ROUNDING_RAD, Limiter, approach_speed, make_limiter

Array = NDArray[np.float64]
RATE_HZ, EPSILON = 30.0, 1e-9
LIMITS = JointLimits(
    lower=np.array([-1.0, -0.2, -np.inf]),
    upper=np.array([1.0, 0.5, np.inf]),
    velocity=np.array([2.0, 0.7, 3.0]),
    acceleration=np.array([2.0, 5.0, 4.0]),
)


def _follow(limiter: Limiter, targets: Array) -> Array:
    """Send targets (T, N, J) and hold the last."""
    following = np.concatenate([targets[1:], targets[-1:]])
    return np.stack([limiter.step(*pair) for pair in zip(targets, following, strict=True)])


def _limiter(start: Array) -> Limiter:
    limiter = Limiter(LIMITS, RATE_HZ)
    limiter.reset(start)
    return limiter


def _one_joint(end: float, velocity: float, acceleration: float) -> Limiter:
    """The limiter of a joint at rest at 0 that may move from -end to end."""
    limits = (np.array([value]) for value in (-end, end, velocity, acceleration))
    limiter = Limiter(JointLimits(*limits), RATE_HZ)
    limiter.reset(np.zeros((1, 1)))
    return limiter


def _previewed(limiter: Limiter, rows: Array) -> Array:
    """Preview rows (K, N, J), then send them; the same commands (K, N, J) must come out."""
    order = np.roll(np.arange(rows.shape[1]), 1)
    seen = limiter.preview(rows.transpose(1, 0, 2)[order], order)
    before = np.concatenate([limiter.position[None], rows])[-2]
    after = np.concatenate([rows[1:], [2 * rows[-1] - before]])
    sent = np.stack([limiter.step(*pair) for pair in zip(rows, after, strict=True)])
    np.testing.assert_array_equal(seen, sent.transpose(1, 0, 2)[order])
    return sent


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), reach=st.floats(0.001, 5.0), steps=st.integers(1, 40))
def test_no_command_is_ever_past_a_limit(seed: int, reach: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform([-1, -0.2, -3], [1, 0.5, 3], (4, 3))
    targets = start + reach * rng.standard_normal((steps, 4, 3)).cumsum(axis=0)
    sent = np.concatenate([[start, start], _follow(_limiter(start), targets)])
    velocity = np.diff(sent, axis=0) * RATE_HZ
    acceleration = np.diff(velocity, axis=0) * RATE_HZ
    assert (sent >= LIMITS.lower - EPSILON).all()
    assert (sent <= LIMITS.upper + EPSILON).all()
    assert (np.abs(velocity) <= LIMITS.velocity + 1e-7).all()
    assert (np.abs(acceleration) <= LIMITS.acceleration + 1e-5).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.99))
def test_a_motion_within_the_limits_passes_unchanged(seed: int, share: float) -> None:
    # Sinusoids whose speed and acceleration are a share of the limits, far from the ends.
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.5, 6.0, (2, 3))
    most = np.minimum(LIMITS.velocity / frequency, LIMITS.acceleration / frequency**2)
    amplitude = share * np.minimum(most / 2, 0.1)
    time = np.arange(1, 41)[:, None, None] / RATE_HZ
    targets = 0.1 + amplitude * (1 - np.cos(frequency * time))
    limiter = _limiter(np.full((2, 3), 0.1))
    # After the last target the helper wants a stop, which may have to begin one step earlier.
    assert np.array_equal(_follow(limiter, targets)[:-1], targets[:-1])
    limiter.reset(np.full((2, 3), 0.1))
    for pair in itertools.pairwise(targets):
        limiter.step(*pair)
    assert limiter.clipped == {"position": 0, "velocity": 0, "acceleration": 0}
    assert limiter.largest_change == pytest.approx(0, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(goal=st.floats(-3.0, 3.0), distance=st.floats(-1.0, 1.0), limits=st.just((2.0, 2.0)))
@example(goal=0.0, distance=1.0, limits=(0.3, 0.2))
def test_a_jump_is_caught_up_with_and_not_overshot(
    goal: float, distance: float, limits: tuple[float, float]
) -> None:
    speed, acceleration = limits
    start, goals = np.array([[goal]]), np.full((160, 1, 1), goal + distance)
    limiter = _one_joint(9.0, speed, acceleration)
    limiter.reset(start)
    sent = _follow(limiter, goals)[:, 0, 0]
    assert sent[-1] == pytest.approx(goal + distance, abs=1e-12)
    side = np.sign(distance)
    assert ((goal + distance - sent) * side >= -EPSILON).all()
    # Time-optimal up to rounding to whole steps: accelerate, cruise, brake.
    way, ramps = abs(distance), speed**2 / acceleration
    shortest = 2 * np.sqrt(way / acceleration) if way <= ramps else (way + ramps) / speed
    arrived = int(np.argmax(np.abs(sent - goal - distance) < EPSILON)) + 1
    assert arrived <= shortest * RATE_HZ + 2


def test_full_speed_towards_a_limit_stops_before_it() -> None:
    targets = np.tile(np.array([50.0, 50.0, 50.0]), (120, 1, 1))
    limiter = _limiter(np.zeros((1, 3)))
    sent = _follow(limiter, targets)
    assert sent[-1, 0, :2] == pytest.approx(LIMITS.upper[:2], abs=1e-6)
    assert sent[-1, 0, 2] > 5, "a joint without limits runs on"
    assert limiter.clipped["position"] == 2 * 120
    assert limiter.clipped["velocity"] == 120


def test_it_can_always_turn_back() -> None:
    limiter = _limiter(np.zeros((1, 3)))
    out = np.tile(np.array([50.0, 50.0, 50.0]), (90, 1, 1))
    sent = _follow(limiter, np.concatenate([out, np.zeros((240, 1, 3))]))
    assert sent[-1] == pytest.approx(np.zeros((1, 3)), abs=1e-12)


def test_a_start_outside_the_limits_is_led_back_without_a_jump() -> None:
    start = np.array([[1.2, 0.0, 0.0]])
    sent = _follow(_limiter(start), np.zeros((60, 1, 3)))[:, 0, 0]
    path = np.concatenate([start[:, 0], start[:, 0], sent])
    assert (np.diff(path) <= EPSILON).all()
    assert np.abs(np.diff(path, n=2)).max() * RATE_HZ**2 <= LIMITS.acceleration[0] + 1e-6
    assert sent[-1] == pytest.approx(0, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(distance=st.floats(0, 10), change=st.floats(0.01, 1))
def test_braking_from_the_approach_speed_ends_at_the_distance(
    distance: float, change: float
) -> None:
    speed = float(approach_speed(np.array(distance), np.array(change), 0.1))
    way = 0.1 * np.maximum(speed - change * np.arange(2000), 0).sum()
    assert way == pytest.approx(distance, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), smooth=st.integers(0, 20))
def test_a_preview_equals_what_is_sent(seed: int, smooth: int) -> None:
    """Also where the first steps of a motion are within the limits and later ones are not."""
    rng = np.random.default_rng(seed)
    limiter = _limiter(rng.uniform([-0.5, -0.1, -1], [0.5, 0.3, 1], (3, 3)))
    limiter.step(limiter.position + 0.002, limiter.position + 0.004)
    velocity = limiter.velocity + rng.uniform(-0.01, 0.01, (20, 3, 3)).cumsum(axis=0)
    velocity[smooth:] += rng.uniform(-2, 2, (3, 3))
    rows = limiter.position + velocity.cumsum(axis=0) / RATE_HZ
    _previewed(limiter, rows)


def test_a_preview_from_outside_the_limits_leads_back_as_fast_as_what_is_sent() -> None:
    limiter = _limiter(np.array([[1.2, 0.0, 0.0]]))
    rows = np.array([1.2, 0.0, 0.0]) - np.outer(np.arange(1, 6), [1e-4, 0.0, 0.0])
    sent = _previewed(limiter, rows[:, None])
    assert sent[-1, 0, 0] < rows[-1, 0]


def test_a_preview_of_one_step_or_of_trembling_equals_what_is_sent() -> None:
    for rows in ([0.1], [0.002, -0.002] * 3):
        sent = _previewed(_one_joint(1.0, 2.0, 2.0), np.reshape(rows, (-1, 1, 1)))
        assert np.abs(sent[:, 0, 0] - rows).max() > 1e-4


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_preview_brakes_before_an_end_that_the_motion_just_does_not_reach(side: float) -> None:
    velocity = np.minimum(0.16 * np.arange(1, 26), 0.64)
    rows = side * velocity.cumsum().reshape(-1, 1, 1) / RATE_HZ
    limiter = _one_joint(abs(rows[-1, 0, 0]) + 1e-3, 0.7, 5.0)
    sent = _previewed(limiter, rows)
    np.testing.assert_array_equal(sent[:20], rows[:20])
    assert side * (rows[-1] - sent[-1])[0, 0] > 1e-3


def test_braking_is_the_shortest_motion_to_rest_and_sent_unchanged() -> None:
    rng, limiter = np.random.default_rng(0), _limiter(np.zeros((4, 3)))
    _follow(limiter, rng.uniform(-0.3, 0.3, (9, 4, 3)).cumsum(axis=0) * [1.0, 0.1, 1.0])
    position, velocity = limiter.position, limiter.velocity
    steps = limiter.stop_steps(velocity)
    way = limiter.braking(position, velocity, steps)
    assert way.shape == (4, steps, 3)
    for step in range(steps):
        assert (velocity != 0).any()
        change = LIMITS.acceleration / RATE_HZ
        velocity = velocity - np.clip(velocity, -change, change)
        position = position + velocity / RATE_HZ
        np.testing.assert_allclose(way[:, step], position, atol=1e-12)
    assert (velocity == 0).all() and (limiter.velocity != 0).all()
    np.testing.assert_allclose(_previewed(limiter, way.transpose(1, 0, 2)), way.transpose(1, 0, 2))


@pytest.mark.parametrize(("share", "count"), [(0.5, 0), (2.0, 1)])
def test_a_change_within_rounding_does_not_count_as_clipped(share: float, count: int) -> None:
    """A target past one of the limits by a share of what rounding may change."""
    for kind, limits in (
        ("position", (0.001, 2.0, 2.0)),
        ("velocity", (1.0, 0.03, 2.0)),
        ("acceleration", (1.0, 2.0, 0.9)),
    ):
        limiter = _one_joint(*limits)
        target = np.full((1, 1), 0.001 + share * ROUNDING_RAD)
        limiter.step(target, target)
        assert limiter.clipped == {"position": 0, "velocity": 0, "acceleration": 0, kind: count}
    limiter = _one_joint(0.0, 2.0, 2.0)
    limiter.step(np.full((1, 1), ROUNDING_RAD), np.zeros((1, 1)))
    assert limiter.clipped["position"] == 0


@pytest.mark.parametrize(
    ("velocity", "acceleration", "sent"),
    [(np.inf, np.inf, [0.9, 0.9, 0.9]), (3.0, np.inf, [0.1, 0.2, 0.3]),
     (np.inf, 90.0, [0.1, 0.3, 0.6])],
)  # fmt: skip
def test_a_joint_may_have_no_limit_of_one_kind(
    velocity: float, acceleration: float, sent: list[float]
) -> None:
    limiter = _one_joint(2.0, velocity, acceleration)
    commands = _follow(limiter, np.full((3, 1, 1), 0.9))
    np.testing.assert_allclose(commands.ravel(), sent, atol=1e-9)


def test_without_limits_every_target_is_sent_unchanged() -> None:
    endless = np.full(2, np.inf)
    limiter = make_limiter(JointLimits(-endless, endless, endless, endless), RATE_HZ)
    limiter.reset(np.zeros((3, 2)))
    targets = 1e4 * np.random.default_rng(0).normal(size=(5, 3, 2))
    np.testing.assert_array_equal(_follow(limiter, targets), targets)
    np.testing.assert_array_equal(limiter.position, targets[-1])
    np.testing.assert_allclose(limiter.velocity, RATE_HZ * (targets[-1] - targets[-2]))
    assert set(limiter.clipped.values()) == {0} and limiter.largest_change == 0
    assert type(make_limiter(LIMITS, RATE_HZ)) is Limiter, "one joint without an end is limited"
