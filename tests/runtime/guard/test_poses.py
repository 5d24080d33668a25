from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.runtime.guard.poses import Link, z_along


@given(st.lists(st.floats(-7, 7), min_size=1, max_size=5), st.integers(0, 1000))
def test_a_joint_turns_about_its_axis(angles: list[float], seed: int) -> None:
    axis = np.random.default_rng(seed).normal(size=3)
    axis /= np.linalg.norm(axis)
    link = Link(False, axis, np.eye(3), np.zeros(3), 0)
    wanted = Rotation.from_rotvec(np.array(angles)[:, None] * axis).as_matrix()
    assert link.turned(np.array(angles)) == pytest.approx(wanted, abs=1e-12)


@given(st.integers(0, 1000))
def test_rotations_turn_z_to_an_axis(seed: int) -> None:
    drawn = np.random.default_rng(seed).normal(size=(4, 3))
    axes = np.concatenate([drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.eye(3)])
    turns = z_along(axes)
    assert turns[:, :, 2] == pytest.approx(axes)
    assert np.linalg.det(turns) == pytest.approx(1.0)
    assert turns @ turns.swapaxes(1, 2) == pytest.approx(np.tile(np.eye(3), (7, 1, 1)), abs=1e-12)
