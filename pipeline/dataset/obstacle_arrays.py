"""Writes and reads the obstacles of episodes: meta/obstacles and meta/obstacle_ends of a zarr.

meta/obstacles (M, 12)       rows of `pipeline.obstacles`, those of each episode after the other
meta/obstacle_ends (E,)      one past the last row of each episode

A zarr whose episodes have no obstacles has neither array.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.dataset.zarr_arrays import StoreError, create_array, read_array
from pipeline.obstacles import COLUMNS, ObstacleError, parse

_ROWS, _ENDS = "meta/obstacles", "meta/obstacle_ends"


def write_obstacles(
    group: zarr.Group,
    obstacles: Sequence[NDArray[np.float64]],
    dtype: Literal["float32", "float64"],
    chunk_rows: int,
) -> None:
    """Write both arrays if any episode has an obstacle.

    Args:
        group: of the zarr.
        obstacles: those of each episode. E arrays of shape (M, 12).
        dtype: of the rows.
        chunk_rows: rows of a chunk.
    """
    ends = np.cumsum([len(rows) for rows in obstacles], dtype=np.int64)
    if not len(ends) or not ends[-1]:
        return
    for name, values in ((_ROWS, np.concatenate(obstacles).astype(dtype)), (_ENDS, ends)):
        array = create_array(group, name, values.shape, values.dtype.name, chunk_rows)
        array[...] = values


def read_obstacles(
    group: zarr.Group, episodes: int, path: Path
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Read both arrays.

    Args:
        group: of the zarr.
        episodes: the number of episodes, E.
        path: the zarr folder, for the message.

    Returns:
        Rows (M, 12) as stored and their ends (E,); no rows and zeros if the zarr has neither array.

    Raises:
        StoreError: one array is missing, or they do not fit together or to the episodes.
    """
    if _ROWS not in group and _ENDS not in group:
        return np.zeros((0, COLUMNS)), np.zeros(episodes, np.int64)
    rows = read_array(group, _ROWS, path)
    ends = read_array(group, _ENDS, path).astype(np.int64, copy=False)
    if ends.shape != (episodes,) or (np.diff(ends, prepend=0) < 0).any():
        raise StoreError(
            f"{path}: {_ENDS} has shape {ends.shape} and holds {ends.tolist()[:5]}…, expected "
            f"{episodes} numbers that do not decrease; run the stage that made it again"
        )
    if rows.shape != (int(ends[-1]) if episodes else 0, COLUMNS):
        raise StoreError(
            f"{path}: {_ROWS} has shape {rows.shape}, expected ({ends[-1:].tolist()}, {COLUMNS}): "
            f"the last of {_ENDS}; run the stage that made it again"
        )
    try:
        parse(rows)
    except ObstacleError as error:
        raise StoreError(f"{path}: {_ROWS}: {error}") from error
    return rows, ends
