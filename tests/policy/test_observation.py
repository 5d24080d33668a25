from __future__ import annotations

import numpy as np
import pytest

from pipeline.layout import Layout
from pipeline.policy.observation import ObservationError, check_noise, check_observation
from tests.fixtures.policy import random_states


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
