"""Tests that sensor errors have the requested size, and are absent by default."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.disturbance import UNDISTURBED, Disturbance, Sensor, tilt


def _axes(number: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((number, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _generators(number: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(number)]


def test_an_undisturbed_sensor_shows_the_true_pose() -> None:
    position, axis = np.ones((4, 3)), _axes(4)
    seen = Sensor(UNDISTURBED, _generators(4)).observe(position, axis)
    assert np.array_equal(seen[0], position)
    assert np.array_equal(seen[1], axis)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), angle=st.floats(0.001, 3.1), way=st.floats(-3.2, 3.2))
def test_a_tilt_has_the_angle_it_was_given(seed: int, angle: float, way: float) -> None:
    axis = _axes(5, seed)
    turned = tilt(axis, np.tile(angle * np.array([np.cos(way), np.sin(way)]), (5, 1)))
    assert np.linalg.norm(turned, axis=-1) == pytest.approx(np.ones(5))
    sine = np.linalg.norm(np.cross(axis, turned), axis=-1)
    assert np.arctan2(sine, np.sum(axis * turned, axis=-1)) == pytest.approx(np.full(5, angle))


def test_noise_changes_with_each_observation_and_a_bias_is_constant() -> None:
    position, axis = np.zeros((3000, 3)), _axes(3000)
    noisy = Sensor(Disturbance(noise_m=0.005, noise_deg=2), _generators(3000))
    first, second = noisy.observe(position, axis), noisy.observe(position, axis)
    assert first[0].std() == pytest.approx(0.005, rel=0.05)
    assert np.corrcoef(first[0].ravel(), second[0].ravel())[0, 1] == pytest.approx(0, abs=0.05)
    angle = np.arccos(np.clip(np.sum(first[1] * axis, axis=-1), -1, 1))
    # Two independent turns of σ each: the angle's mean square is 2 σ².
    assert np.sqrt(np.mean(angle**2)) == pytest.approx(np.radians(2) * 2**0.5, rel=0.05)
    biased = Sensor(Disturbance(bias_m=0.005, bias_deg=2), _generators(3000))
    first, second = biased.observe(position, axis), biased.observe(position, axis)
    assert np.array_equal(first[0], second[0])
    assert np.linalg.norm(first[0], axis=-1) == pytest.approx(np.full(3000, 0.005))
    cosine = np.clip(np.sum(first[1] * axis, axis=-1), -1, 1)
    assert np.degrees(np.arccos(cosine)) == pytest.approx(np.full(3000, 2.0), abs=1e-6)
