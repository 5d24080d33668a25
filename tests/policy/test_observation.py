from __future__ import annotations

import numpy as np
import pytest

from pipeline.layout import Layout
from pipeline.obstacles import ObstacleError, pad, sphere
from pipeline.policy.observation import (
    ObservationError,
    check_noise,
    check_observation,
    graph_inputs,
    observations,
    obstacle_slots,
    with_obstacles,
)
from tests.fixtures.policy import random_obstacles, random_states


def test_one_observation_becomes_a_batch_of_one(layout: Layout, rng: np.random.Generator) -> None:
    obs = random_states(rng, layout, 2).astype(np.float64)
    checked = check_observation(obs, layout, 2)
    assert checked.shape == (1, 2, 25)
    assert checked.dtype == np.float32


@pytest.mark.parametrize("shape", [(25,), (3, 25), (2, 24), (4, 3, 25), (0, 2, 25), (1, 1, 2, 25)])
def test_another_shape_is_refused_and_the_expected_one_named(
    layout: Layout, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ObservationError, match=r"expected \(2, 25\)"):
        check_observation(np.ones(shape), layout, 2)


def test_a_number_that_is_not_finite_is_refused_and_its_field_named(
    layout: Layout, rng: np.random.Generator
) -> None:
    obs = random_states(rng, layout, 2)
    layout.unpack(obs, "object_pos")[0, 1] = np.nan
    with pytest.raises(ObservationError, match="pen_pos"):
        check_observation(obs, layout, 2)


def test_a_pose_that_was_never_filled_in_is_refused(
    layout: Layout, rng: np.random.Generator
) -> None:
    obs = random_states(rng, layout, 2)
    layout.unpack(obs, "ee_pose")[1] = 0
    with pytest.raises(ObservationError, match="quaternion of length 0"):
        check_observation(obs, layout, 2)


def test_noise_of_another_shape_or_not_finite_is_refused() -> None:
    assert check_noise(np.zeros((1, 16, 6)), (1, 16, 6)).dtype == np.float32
    with pytest.raises(ObservationError, match=r"\(B, H, A\)"):
        check_noise(np.zeros((2, 16, 6)), (1, 16, 6))
    with pytest.raises(ObservationError, match="finite"):
        check_noise(np.full((1, 16, 6), np.inf), (1, 16, 6))


def test_obstacles_follow_the_state_and_are_split_from_it_for_the_graph(
    layout: Layout, rng: np.random.Generator
) -> None:
    states = random_states(rng, layout, 5, 2)
    rows = np.stack([pad(random_obstacles(rng, number % 4), 3) for number in range(5)])
    wide = with_obstacles(states, rows)
    assert wide.shape == (5, 2, 25 + 36)
    split = graph_inputs(check_observation(wide, layout, 2, obstacles=3), layout)
    np.testing.assert_array_equal(split["obs"], states)
    np.testing.assert_array_equal(split["obstacles"], rows.astype(np.float32))
    assert list(graph_inputs(states, layout)) == ["obs"]
    assert with_obstacles(states, rows[:, :0]) is states


def test_observations_of_a_policy_that_sees_obstacles_are_checked_like_others(
    layout: Layout, rng: np.random.Generator
) -> None:
    wide = with_obstacles(random_states(rng, layout, 1, 2), pad(np.zeros((0, 12)), 3)[None])
    with pytest.raises(ObservationError, match=r"expected \(2, 61\).*then 3 obstacles of 12"):
        check_observation(wide[..., :25], layout, 2, obstacles=3)
    for column, field in ((20, "pen_pos"), (30, "the obstacles")):
        broken = wide.copy()
        broken[0, 1, column] = np.inf
        with pytest.raises(ObservationError, match=f"not finite, in {field}"):
            check_observation(broken, layout, 2, obstacles=3)


def test_obstacles_may_be_passed_beside_the_states(
    layout: Layout, rng: np.random.Generator
) -> None:
    states, each = random_states(rng, layout, 2, 2), random_obstacles(rng, 4).reshape(2, 2, 12)
    expected = with_obstacles(states, np.stack([pad(rows, 3) for rows in each]))
    np.testing.assert_array_equal(observations(states, layout, 3, each), expected)
    np.testing.assert_array_equal(observations(states, layout, 3, each.tolist()), expected)
    np.testing.assert_array_equal(observations(states[0], layout, 3, each[0]), expected[0])
    ball = [{"centre_m": [0.4, 0, 0.3], "radius_m": 0.1}]
    row = sphere([0.4, 0, 0.3], 0.1)[None]
    expected = with_obstacles(states, np.stack([pad(row, 3)] * 2))
    np.testing.assert_array_equal(observations(states, layout, 3, ball), expected)
    np.testing.assert_array_equal(observations(expected, layout, 3), expected)
    nothing = with_obstacles(states, np.stack([pad(row[:0], 3)] * 2))
    np.testing.assert_array_equal(observations(states, layout, 3), nothing)
    np.testing.assert_array_equal(observations(states, layout, 0), states)


def test_obstacles_that_cannot_be_used_are_refused(
    layout: Layout, rng: np.random.Generator
) -> None:
    states, rows = random_states(rng, layout, 2, 2), random_obstacles(rng, 4)
    with pytest.raises(ObstacleError, match="4 obstacles; expected 3 at most"):
        observations(states, layout, 3, rows)
    with pytest.raises(ObstacleError, match="this policy sees none"):
        observations(states, layout, 0, rows)
    with pytest.raises(ObstacleError, match=r"\(2, 2, 61\), which include obstacles already"):
        observations(observations(states, layout, 3), layout, 3, rows[:3])
    for obs in (states[0], states):
        with pytest.raises(ObstacleError, match=r"shape \(3, 1, 12\)"):
            observations(obs, layout, 3, rows[:3, None])


@pytest.mark.parametrize(
    ("config", "slots"),
    [({}, 0), ({"geometry": None}, 0), ({"geometry": {"chain": 1}}, 0),
     ({"geometry": {"obstacles": {"slots": 5}}}, 5)],
)  # fmt: skip
def test_a_configuration_says_how_many_obstacles_are_seen(
    config: dict[str, object], slots: int
) -> None:
    assert obstacle_slots(config) == slots
