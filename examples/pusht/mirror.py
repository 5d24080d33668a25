"""Adds the mirror image of every demonstration to a Push-T data set.

    python -m examples.pusht.mirror pusht_cchi_v7_replay.zarr --out artifacts/pusht_mirrored.zarr

The goal lies on a diagonal of the window and the block is symmetric, so the task is the same on
both sides of that diagonal: a demonstration seen in it is another demonstration. The walls are off
by one pixel.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.pusht.environment import keypoints
from pipeline.dataset.zarr_arrays import create_array, create_group, open_group, read_array
from pipeline.run import output_folder

Array = NDArray[np.float64]
WINDOW = 512.0
CHUNK_ROWS = 4096


def mirrored_points(points: Array) -> Array:
    """Mirror points in the diagonal through the goal.

    Args:
        points: pixels. Shape (..., 2).
    """
    return WINDOW - points[..., ::-1]


def mirrored_state(state: Array) -> Array:
    """Mirror agent and block.

    Args:
        state: position of the agent, position and angle of the block, rad. Shape (N, 5).
    """
    places = [mirrored_points(state[:, columns]) for columns in (slice(0, 2), slice(2, 4))]
    return np.column_stack([*places, np.mod(np.pi / 2 - state[:, 4], 2 * np.pi)])


def add_mirrored(source: Path, out: Path) -> None:
    """Write the demonstrations followed by their mirror images.

    Args:
        source: the published zarr.
        out: the zarr to write; replaced if it exists.

    Raises:
        StoreError: the source is no zarr, or lacks an array.
    """
    given = open_group(source)
    state, action, ends = (
        read_array(given, name, source)
        for name in ("data/state", "data/action", "meta/episode_ends")
    )
    points = read_array(given, "data/keypoint", source)
    image = mirrored_state(state.astype(np.float64))
    image_points = np.stack([keypoints(row) for row in image[:, 2:]]).reshape(points.shape)
    arrays = {
        "data/state": np.concatenate([state, image]).astype(np.float32),
        "data/keypoint": np.concatenate([points, image_points]).astype(np.float32),
        "data/action": np.concatenate([action, mirrored_points(action)]).astype(np.float32),
        "meta/episode_ends": np.concatenate([ends, ends + ends[-1]]),
    }
    with output_folder(out) as folder:
        group = create_group(folder, 2)
        for name, values in arrays.items():
            array = create_array(group, name, values.shape, values.dtype.name, CHUNK_ROWS)
            array[...] = values


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the zarr."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the published zarr")
    parser.add_argument("--out", type=Path, required=True, help="the zarr to write")
    given = parser.parse_args(arguments)
    add_mirrored(given.source, given.out)


if __name__ == "__main__":
    main()
