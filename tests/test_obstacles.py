from __future__ import annotations

import numpy as np
import pytest

from pipeline.obstacles import (
    COLUMNS,
    ObstacleError,
    box,
    cylinder,
    pad,
    parse,
    simple_shape,
    sphere,
    used,
)

BOX = {"centre_m": [0.4, 0.0, 0.3], "size_m": [0.1, 0.2, 0.3]}


def test_mappings_become_rows() -> None:
    tube = {"centre_m": [0, 0, 1], "radius_m": 0.1, "length_m": 0.4}
    rows = parse([BOX, tube, {"centre_m": [1, 0, 0], "radius_m": 0.2}])
    expected = [
        box([0.4, 0.0, 0.3], [0.1, 0.2, 0.3]),
        cylinder([0, 0, 1], 0.1, 0.4),
        sphere([1, 0, 0], 0.2),
    ]
    assert rows == pytest.approx(np.stack(expected))
    assert rows[0, 7:].tolist() == [0.05, 0.1, 0.15, 0.0, 0.0]
    assert rows[1, 7:].tolist() == [0.0, 0.0, 0.2, 0.1, 0.0]
    assert rows[2, 7:].tolist() == [0.0, 0.0, 0.0, 0.0, 0.2]
    assert parse(rows) == pytest.approx(rows)
    assert parse([]).shape == (0, COLUMNS)


def test_padding_is_undone() -> None:
    rows = parse([BOX])
    padded = pad(rows, 3)
    assert padded.shape == (3, COLUMNS)
    assert used(padded) == pytest.approx(rows)
    with pytest.raises(ObstacleError, match="3 obstacles; expected 2 at most"):
        pad(padded, 2)


@pytest.mark.parametrize(
    ("obstacles", "message"),
    [
        (np.zeros((2, 5)), r"shape \(2, 5\)"),
        ([{"size_m": [1, 1, 1]}], "centre_m"),
        ([{**BOX, "radius_m": 1.0}], "expected rows"),
        ([{"centre_m": [0, 0, 0], "size_m": [1, -1, 1]}], "sizes of 0 or more"),
        ([{**BOX, "quaternion": [0, 0, 0, 2]}], "length 2"),
        ([{**BOX, "centre_m": [np.nan, 0, 0]}], "finite"),
        ([BOX, "box"], "expected rows"),
        ("nothing", "expected rows"),
    ],
)
def test_malformed_obstacles_are_refused(obstacles: object, message: str) -> None:
    with pytest.raises(ObstacleError, match=message):
        parse(obstacles)  # type: ignore[arg-type]


def test_obstacles_have_a_form_that_simulators_know() -> None:
    around = np.append(box([0, 0, 1], [0.1, 0.2, 0.3])[:10], [0.01, 0.02])
    for row, kind, size in (
        (box([0, 0, 1], [0.1, 0.2, 0.3]), "box", [0.05, 0.1, 0.15]),
        (cylinder([0, 0, 1], 0.1, 0.4), "cylinder", [0.1, 0.2, 0.0]),
        (sphere([0, 0, 1], 0.1), "sphere", [0.1, 0.0, 0.0]),
        (around, "box", [0.08, 0.13, 0.17]),
    ):
        found, sizes = simple_shape(row)
        assert found == kind
        assert sizes == pytest.approx(size)
