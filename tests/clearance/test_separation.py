"""Tests the distances of simple bodies against known values."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clearance.separation import Body, separate, z_along

EYE = np.eye(3)[..., None]
CUBE = Body(np.full((3, 1), 0.5), np.zeros(1))
ROD = Body(np.array([[0.0], [0.0], [1.0]]), np.array([0.2]))
"""A cylinder of radius 0.2 m and length 2 m."""


@pytest.mark.parametrize(
    ("first", "second", "apart", "distance"),
    [
        (CUBE, CUBE, (1.3, 0.0, 0.0), 0.3),
        (CUBE, CUBE, (1.3, 1.4, 0.0), 0.5),
        (CUBE, CUBE, (1.2, 0.9, 0.2), 0.2),
        (CUBE, CUBE, (0.9, 0.0, 0.0), -0.1),
        (ROD, CUBE, (1.0, 0.0, 0.3), 0.3),
        (ROD, CUBE, (0.0, 0.0, 1.6), 0.1),
        (ROD, ROD, (0.6, 0.8, 0.0), 0.6),
        (ROD, ROD, (0.0, 0.3, 0.0), -0.1),
    ],
)
def test_a_known_distance_is_found(
    first: Body, second: Body, apart: tuple[float, ...], distance: float
) -> None:
    found = separate(np.array(apart)[:, None], EYE, first, second, None)
    assert found.bound[0] == pytest.approx(distance, abs=1e-3)
    assert found.bound[0] <= distance + 1e-9
    assert np.linalg.norm(found.direction[:, 0]) == pytest.approx(1.0)


def test_frames_along_axes_are_orthonormal_and_right_handed() -> None:
    axis = np.random.default_rng(0).normal(size=(3, 200))
    axis /= np.linalg.norm(axis, axis=0)
    axis[:, :4] = [[0, 0, 0, 1], [0, 0, 1, 0], [1, -1, 0, 0]]
    turn = z_along(axis)
    np.testing.assert_array_equal(turn[:, 2], axis)
    products = np.einsum("kis,kjs->sij", turn, turn)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(np.moveaxis(turn, -1, 0)), 1.0)
