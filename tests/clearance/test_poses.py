from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.clearance.poses import Link


@given(st.lists(st.floats(-7, 7), min_size=1, max_size=5), st.integers(0, 1000))
def test_a_joint_turns_about_its_axis(angles: list[float], seed: int) -> None:
    axis = np.random.default_rng(seed).normal(size=3)
    axis /= np.linalg.norm(axis)
    link = Link(False, axis, np.eye(3), np.zeros(3), 0)
    wanted = Rotation.from_rotvec(np.array(angles)[:, None] * axis).as_matrix()
    assert link.turned(np.array(angles)) == pytest.approx(wanted, abs=1e-12)
