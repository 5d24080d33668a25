"""Obstacles of episodes survive the round trip; arrays that do not fit are refused."""

import numpy as np
import pytest
import zarr

from pipeline.dataset.obstacle_arrays import read_obstacles, write_obstacles
from pipeline.dataset.zarr_arrays import StoreError, create_group, open_group
from pipeline.obstacles import COLUMNS, box, cylinder, sphere

ROWS = [
    np.stack([box([0.4, 0.1, 0.2], [0.1, 0.2, 0.3]), sphere([0.5, 0, 0.3], 0.05)]),
    np.zeros((0, COLUMNS)),
    cylinder([0.3, 0.2, 0.1], 0.04, 0.2, [0, 0.6, 0, 0.8])[None],
]


@pytest.fixture
def write(tmp_path):
    def write(obstacles, dtype="float64"):
        write_obstacles(create_group(tmp_path / "a.zarr", 2), obstacles, dtype, 2)
        return tmp_path / "a.zarr"

    return write


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_obstacles_survive_the_round_trip(write, dtype):
    path = write(ROWS, dtype)
    rows, ends = read_obstacles(open_group(path), 3, path)
    assert rows.dtype == dtype
    for one, other in zip(ROWS, np.split(rows, ends[:-1]), strict=True):
        np.testing.assert_array_equal(one.astype(dtype), other)


@pytest.mark.parametrize("obstacles", [[], [np.zeros((0, COLUMNS))] * 3])
def test_without_obstacles_there_are_no_arrays(write, obstacles):
    path = write(obstacles)
    assert not (path / "meta").exists()
    rows, ends = read_obstacles(open_group(path), 3, path)
    assert rows.shape == (0, COLUMNS) and ends.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("obstacle_ends", np.array([2, 1, 3]), "do not decrease"),
        ("obstacle_ends", np.array([2, 3, 4]), r"shape \(3, 12\), expected \(\[4\], 12\)"),
        ("obstacles", np.full((3, COLUMNS), np.nan), "expected finite numbers"),
        ("obstacles", np.zeros((3, COLUMNS)), "quaternion"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(write, name, values, message):
    path = write(ROWS)
    zarr.open_group(path)[f"meta/{name}"][...] = values
    with pytest.raises(StoreError, match=message):
        read_obstacles(open_group(path), 3, path)


def test_another_number_of_episodes_is_refused(write):
    path = write(ROWS)
    with pytest.raises(StoreError, match="expected 4 numbers"):
        read_obstacles(open_group(path), 4, path)
