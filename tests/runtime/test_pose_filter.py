"""The object filter: exact for calm observations, steadier than noisy ones, quick after a jump."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.params import ExecutionParams
from pipeline.runtime.pose_filter import ObjectFilter
from tests.fixtures.execution import UNGUARDED

UP = np.array([[0.0, 0.0, 1.0]])


def _filter(number: int = 1, **changes: Any) -> ObjectFilter:
    values = {
        "mode": "chunk", "execute_steps": 1, "blend_steps": 0, "ensemble_decay": 0.0,
        "noise_scale": 1.0,
        "object_window": 10, "object_jump_m": 0.03, "object_jump_deg": 15.0,
        "object_jump_observations": 1, **UNGUARDED,
    }  # fmt: skip
    steady = ObjectFilter(ExecutionParams.model_validate({**values, **changes}))
    assert steady.jumped.shape == (0,), "before the reset there are no robots"
    steady.reset(number)
    return steady


def test_equal_observations_pass_unchanged() -> None:
    steady, place = _filter(), np.array([[0.4, 0.1, 0.3]])
    for _ in range(30):
        position, axis = steady.update(place, UP)
        assert position == pytest.approx(place, abs=1e-15)
        assert axis == pytest.approx(UP, abs=1e-15)
        assert not steady.jumped.any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 10))
def test_within_the_window_it_is_the_plain_mean(seed: int, count: int) -> None:
    """Of the axes, the mean of the directions, whatever length they are observed with."""
    rng, steady = np.random.default_rng(seed), _filter(3, object_jump_m=1.0, object_jump_deg=180.0)
    seen = 0.005 * rng.standard_normal((count, 3, 3))  # rare noise is no jump here
    tilted = UP + rng.uniform(-0.5, 0.5, (count, 3, 3))
    for row in zip(seen, tilted, strict=True):
        position, axis = steady.update(*row)
    assert position == pytest.approx(seen.mean(axis=0), abs=1e-12)
    mean = (tilted / np.linalg.norm(tilted, axis=-1, keepdims=True)).mean(axis=0)
    assert axis == pytest.approx(mean / np.linalg.norm(mean, axis=-1, keepdims=True), abs=1e-12)


def test_noise_shrinks_to_the_window_s_share() -> None:
    rng, steady, number = np.random.default_rng(0), _filter(2000, object_jump_m=1.0), 2000
    for _ in range(60):
        position, _ = steady.update(
            0.005 * rng.standard_normal((number, 3)), np.repeat(UP, number, axis=0)
        )
    # Variance of an exponential mean with weight a: a / (2 - a).
    assert position.std() == pytest.approx(0.005 * (0.1 / 1.9) ** 0.5, rel=0.05)


@pytest.mark.parametrize("turned", [False, True])
def test_a_jump_begins_anew_for_that_robot_alone(turned: bool) -> None:
    steady = _filter(2)
    position, axis = np.zeros((2, 3)), np.repeat(UP, 2, axis=0)
    for _ in range(5):
        steady.update(position, axis)
    if turned:
        axis[1] = [np.sin(0.5), 0, np.cos(0.5)]
    else:
        position[1] = [0.1, 0, 0]
    found, found_axis = steady.update(position, axis)
    assert steady.jumped.tolist() == [False, True]
    assert found == pytest.approx(position)
    assert found_axis == pytest.approx(axis)
    steady.update(position, axis)
    assert not steady.jumped.any()


def test_a_window_of_one_passes_everything_on() -> None:
    steady, rng = _filter(object_window=1), np.random.default_rng(1)
    for _ in range(5):
        place = 0.01 * rng.standard_normal((1, 3))
        assert steady.update(place, UP)[0] == pytest.approx(place)


@pytest.mark.parametrize("turned", [False, True])
def test_outliers_that_stand_alone_change_nothing(turned: bool) -> None:
    steady = _filter(object_jump_observations=3)
    place, outlier, tilted = np.array([[0.4, 0.1, 0.3]]), np.array([[0.45, 0.1, 0.3]]), UP
    if turned:
        outlier, tilted = place, np.array([[np.sin(0.5), 0, np.cos(0.5)]])
    for position, axis in [(place, UP)] * 4 + [(outlier, tilted), (place, UP)] * 5 + [
        (outlier, tilted), (outlier, tilted), (place, UP),
    ]:  # fmt: skip
        found, found_axis = steady.update(position, axis)
        assert not steady.jumped.any()
        assert found == pytest.approx(place, abs=1e-12)
        assert found_axis == pytest.approx(UP, abs=1e-12)


def test_outliers_that_lie_apart_from_each_other_are_no_jump() -> None:
    steady, place = _filter(object_jump_observations=3), np.array([[0.4, 0.1, 0.3]])
    steady.update(place, UP)
    for step in range(20):
        off = place + np.array([0.1, 0.1 * (-1) ** step, 0.0])
        assert steady.update(off, UP)[0] == pytest.approx(place)
        assert not steady.jumped.any()


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 6), before=st.integers(1, 20), seed=st.integers(0, 1000))
def test_a_moved_object_counts_once_it_was_seen_often_enough(
    count: int, before: int, seed: int
) -> None:
    rng, steady = np.random.default_rng(seed), _filter(object_jump_observations=count)
    for _ in range(before):
        steady.update(np.zeros((1, 3)), UP)
    seen = np.array([0.1, 0, 0]) + 0.003 * rng.standard_normal((count, 1, 3))
    for row in seen[:-1]:
        assert steady.update(row, UP)[0] == pytest.approx(np.zeros((1, 3)))
        assert not steady.jumped.any()
    assert steady.update(seen[-1], UP)[0] == pytest.approx(seen.mean(axis=0))
    assert steady.jumped.all()
    # The observations that made the jump count as much as those that follow.
    mean = (count * seen.mean(axis=0) + seen[0]) / (count + 1)
    assert steady.update(seen[0], UP)[0] == pytest.approx(mean)


def test_a_jump_is_counted_for_each_robot_alone() -> None:
    together, alone = _filter(3, object_jump_observations=3), [
        _filter(object_jump_observations=3) for _ in range(3)
    ]  # fmt: skip
    rng = np.random.default_rng(5)
    for _ in range(60):
        place = 0.1 * rng.integers(0, 2, (3, 1)) * np.ones(3) + 0.002 * rng.standard_normal((3, 3))
        found, _ = together.update(place, np.repeat(UP, 3, axis=0))
        for robot, steady in enumerate(alone):
            assert np.array_equal(steady.update(place[[robot]], UP)[0][0], found[robot])
            assert steady.jumped[0] == together.jumped[robot]


def test_axes_that_cancel_out_leave_the_newest() -> None:
    steady = _filter(object_jump_deg=180.0)
    steady.update(np.zeros((1, 3)), UP)
    assert steady.update(np.zeros((1, 3)), -UP)[1] == pytest.approx(-UP)
