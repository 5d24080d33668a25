"""Shapes of messages become obstacles that cover them; unusable numbers have a reason."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from pipeline.obstacles import box, cylinder, parse, sphere
from pipeline.recordings.solids import (
    InvalidShapeError,
    UnsupportedShapeError,
    box_around,
    mesh_obstacle,
    primitive_obstacle,
)
from tests.fixtures.scenes import BOX, CONE, CYLINDER, PRISM, SPHERE, S

CORNERS = np.array([[x, y, z] for x in (0, 0.4) for y in (0, 0.2) for z in (0, 0.1)])


def inside(row, points):
    """How far points lie outside a box, m."""
    local = Rotation.from_quat(row[3:7]).inv().apply(points - row[:3])
    return (np.abs(local) - row[7:10]).max()


@pytest.mark.parametrize(
    ("kind", "sizes", "row"),
    [
        (BOX, (0.1, 0.2, 0.3), box([0, 0, 0], [0.1, 0.2, 0.3])),
        (SPHERE, (0.2,), sphere([0, 0, 0], 0.2)),
        (CYLINDER, (0.4, 0.1), cylinder([0, 0, 0], 0.1, 0.4)),
        (CONE, (0.4, 0.1), cylinder([0, 0, 0], 0.1, 0.4)),
    ],
)
def test_primitives_become_obstacles(kind, sizes, row):
    np.testing.assert_array_equal(primitive_obstacle(S.primitive(kind, *sizes)), row)
    for bad in (0.0, -0.1, np.nan, np.inf):
        with pytest.raises(InvalidShapeError, match="of dimensions"):
            primitive_obstacle(S.primitive(kind, *sizes[:-1], bad))
    with pytest.raises(InvalidShapeError, match="of dimensions"):
        primitive_obstacle(S.primitive(kind, *sizes[:-1]))


@pytest.mark.parametrize(("kind", "name"), [(PRISM, "prism"), (0, "primitive of type 0")])
def test_other_primitives_are_not_supported(kind, name):
    with pytest.raises(UnsupportedShapeError, match=name):
        primitive_obstacle(S.primitive(kind, 0.1, 0.1, 0.1))


@given(turn=st.integers(0, 2**32 - 1).map(lambda seed: Rotation.random(rng=seed)))
def test_a_turned_box_is_found_again(turn):
    row = box_around(turn.apply(CORNERS))
    assert inside(row, turn.apply(CORNERS)) < 1e-12
    assert np.prod(2 * row[7:10]) == pytest.approx(0.4 * 0.2 * 0.1, rel=2e-3)
    parse(row[None])


@given(points=arrays(float, st.tuples(st.integers(1, 9), st.just(3)), elements=st.floats(-1, 1)))
def test_the_box_covers_all_points_and_is_no_larger_than_the_aligned_one(points):
    row = box_around(points)
    assert inside(row, points) < 1e-9
    aligned = np.prod(np.ptp(points, axis=0) + 1e-6)
    assert np.prod(2 * row[7:10] + 1e-6) <= aligned * (1 + 1e-9)
    assert abs(np.linalg.norm(row[3:7]) - 1) < 1e-9


def test_only_the_corners_of_triangles_count():
    mesh = S.mesh([*CORNERS, [9, 9, 9]], [(0, 1, 2), (3, 4, 5), (6, 7, 7)])
    np.testing.assert_allclose(mesh_obstacle(mesh), box([0.2, 0.1, 0.05], [0.4, 0.2, 0.1]))


def test_a_flat_mesh_is_a_flat_box():
    row = mesh_obstacle(
        S.mesh([[0, 0, 1], [1, 0, 1], [0, 2, 1], [1, 2, 1]], [(0, 1, 2), (1, 2, 3)])
    )
    assert sorted(row[7:10]) == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("vertices", "triangles", "message"),
    [
        ([], [], "mesh of 0 vertices without triangles"),
        (CORNERS, [], "mesh of 8 vertices without triangles"),
        (CORNERS, [(0, 1, 8)], "names vertex 8"),
        ([[0, 0, np.inf]], [(0, 0, 0)], "not finite"),
    ],
)
def test_a_broken_mesh_has_a_reason(vertices, triangles, message):
    with pytest.raises(InvalidShapeError, match=message):
        mesh_obstacle(S.mesh(vertices, triangles))
