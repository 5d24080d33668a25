"""Interpolation is exact where it can be; the grid ends where the episode ends."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.interpolation import differentiate, hermite, limited_derivative

increasing_times = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8).map(
    lambda gaps: np.concatenate([[0.0], np.cumsum(gaps)])
)


@given(increasing_times, st.integers(0, 2**32 - 1))
def test_hermite_reproduces_cubics_and_their_slopes(t, seed):
    rng = np.random.default_rng(seed)
    a, b, c, d = rng.normal(size=(4, 3))

    def cubic(at):
        x = at[:, None]
        return a + b * x + c * x**2 + d * x**3, b + 2 * c * x + 3 * d * x**2

    at = rng.uniform(t[0], t[-1], 20)
    values, slopes = hermite(t, *cubic(t), at)
    scale = 1 + np.abs(cubic(t)[0]).max() + np.abs(cubic(t)[1]).max()
    np.testing.assert_allclose(values, cubic(at)[0], atol=1e-9 * scale)
    np.testing.assert_allclose(slopes, cubic(at)[1], atol=1e-7 * scale)


@given(increasing_times, st.integers(0, 2**32 - 1))
def test_hermite_meets_every_sample_exactly_and_rests_outside(t, seed):
    rng = np.random.default_rng(seed)
    position, velocity = rng.normal(size=(2, len(t), 2))
    values, _ = hermite(t, position, velocity, t)
    np.testing.assert_array_equal(values, position)
    outside = np.array([t[0] - 1, t[-1] + 1])
    values, slopes = hermite(t, position, velocity, outside)
    np.testing.assert_array_equal(values, position[[0, -1]])
    np.testing.assert_array_equal(slopes, 0.0)


def test_differences_are_exact_for_parabolas_on_uneven_times():
    t = np.array([0.0, 0.1, 0.35, 0.5, 1.0])
    np.testing.assert_allclose(differentiate(t, (t**2)[:, None]), (2 * t)[:, None], atol=1e-12)
    np.testing.assert_allclose(differentiate(t[:2], t[:2, None]), [[1.0], [1.0]])


@given(increasing_times, st.integers(0, 2**32 - 1))
def test_limited_derivatives_keep_the_interpolation_between_the_samples(t, seed):
    rng = np.random.default_rng(seed)
    position = np.cumsum(rng.normal(size=(len(t), 2)), axis=0)
    at = np.linspace(t[0], t[-1], 200)
    values, _ = hermite(t, position, limited_derivative(t, position), at)
    right = np.clip(np.searchsorted(t, at), 1, len(t) - 1)
    low = np.minimum(position[right - 1], position[right]) - 1e-9
    high = np.maximum(position[right - 1], position[right]) + 1e-9
    assert np.all((values >= low) & (values <= high))


def test_limited_derivatives_of_a_smooth_motion_are_its_central_differences():
    t = np.linspace(0.0, 1.2, 13)
    position = (3 * (t / 1.2) ** 2 - 2 * (t / 1.2) ** 3)[:, None]
    np.testing.assert_array_equal(limited_derivative(t, position), differentiate(t, position))


def test_limited_derivatives_bear_samples_that_were_logged_in_bursts():
    """500 Hz joint states that are logged every 20 ms: no worse than linear interpolation."""
    measured_s = np.arange(0.002, 1.2, 0.002)
    logged_s = np.ceil(measured_s / 0.02 - 1e-9) * 0.02 + np.arange(599) % 10 * 1e-5
    position = np.sin(2 * measured_s)[:, None]
    at = np.arange(0.05, 1.1, 1 / 30)
    linear = np.abs(np.interp(at, logged_s, position[:, 0]) - np.sin(2 * at)).max()

    def error(velocity):
        return np.abs(hermite(logged_s, position, velocity, at)[0][:, 0] - np.sin(2 * at)).max()

    assert error(differentiate(logged_s, position)) > 5 * linear
    assert error(limited_derivative(logged_s, position)) < 1.05 * linear
