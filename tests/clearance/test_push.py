"""Tests that pushes remove shortfalls and that spreading them keeps their size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clearance.model import Clearances
from pipeline.clearance.push import DAMPING_M2, push_rows, spread
from pipeline.clearance.sweep import Near

Array = NDArray[np.float64]
MOST_RAD = 0.1


def _near(share: float) -> Near:
    """One sample between the second and the third row of one motion, with one pair."""
    zero = np.zeros(1, dtype=np.int64)
    return Near(zero, zero + 1, np.array([share]), zero, zero)


def _found(gradient: Array) -> Clearances:
    number = len(gradient)
    return Clearances(np.zeros(number), np.zeros((3, number)), lambda some: gradient[some])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_both_neighbouring_rows_move_along_the_gradient(share: float) -> None:
    gradient = np.array([[0.5, 0.0, -0.2]])
    push = push_rows(_near(share), np.array([0.01]), _found(gradient), (1, 4), MOST_RAD)
    expected = gradient[0] * 0.01 / (gradient @ gradient.T + DAMPING_M2).item()
    moved = [row for row, weight in ((1, 1 - share), (2, share)) if weight]
    for row in range(4):
        np.testing.assert_allclose(push[0, row], expected if row in moved else 0.0)


def test_no_joint_moves_further_than_allowed() -> None:
    push = push_rows(_near(0.5), np.array([5.0]), _found(np.array([[0.5, 0.1]])), (1, 4), MOST_RAD)
    assert np.abs(push).max() == pytest.approx(MOST_RAD)
    assert push[0, 1, 0] / push[0, 1, 1] == pytest.approx(5.0), "the direction stays"


def test_pushes_in_opposite_directions_cancel() -> None:
    zero, both = np.zeros(1, dtype=np.int64), np.arange(2)
    near = Near(zero, zero + 1, np.array([0.5]), np.zeros(2, dtype=np.int64), both)
    found = _found(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    assert not push_rows(near, np.full(2, 0.01), found, (1, 4), MOST_RAD).any()
    assert push_rows(near, np.array([0.01, -0.01]), found, (1, 4), MOST_RAD)[0, 1, 0] > 0


def test_spreading_keeps_the_largest_change_and_leaves_still_motions_still() -> None:
    push = np.zeros((2, 5, 2))
    push[0, 2] = [0.04, -0.02]
    kernel = np.exp(-0.5 * np.square(np.subtract.outer(np.arange(5), np.arange(5))))
    wide = spread(push, kernel)
    assert np.abs(wide[0]).max() == pytest.approx(0.04)
    assert np.abs(wide[0, 1]).max() > 0
    assert not wide[1].any()
