"""The data set on disk: zarr in, checked arrays out, and back.

Owns names, shapes and attributes of the zarr; also reads the form that the team's scripts wrote
(no split, no statistics, no layout). Knows nothing of recordings or policies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from pipeline.dataset.codecs import require_plain
from pipeline.dataset.split import SPLIT_NAMES, TRAIN, split_episodes
from pipeline.dataset.statistics import Stats, column_stats
from pipeline.dataset.windows import Index, WindowError, episode_rows, episode_starts
from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.params import DatasetParams


class StoreError(PipelineError):
    """A zarr is missing, or does not hold what it should."""


@dataclass(frozen=True)
class Dataset:
    """Episodes as flat arrays at the control rate; N rows, E episodes."""

    path: Path
    state: NDArray[np.float32] = field(repr=False)
    """Shape (N, state_dim), as `layout` says."""
    action: NDArray[np.float32] = field(repr=False)
    """Commanded joint positions, rad. Shape (N, action_dim)."""
    episode_ends: NDArray[np.int64] = field(repr=False)
    """One past the last row of each episode. Shape (E,)."""
    split: NDArray[np.int8] = field(repr=False)
    """0 train, 1 val, 2 test. Shape (E,)."""
    rate_hz: float | None
    """Control rate, Hz; None where the zarr does not say."""
    layout: Layout
    stats: Mapping[str, Stats] = field(repr=False)
    """`state` and `action`: min, max, mean and std of the training rows."""
    attributes: Mapping[str, Any] = field(repr=False)
    """The zarr's attributes as they stand."""

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.episode_ends)

    @property
    def num_steps(self) -> int:
        """Number of rows."""
        return len(self.state)

    def episodes(self, split: str) -> Index:
        """Indices of the episodes of a split.

        Args:
            split: train, val or test.

        Raises:
            StoreError: there is no such split.
        """
        if split not in SPLIT_NAMES:
            raise StoreError(f"split {split!r} is unknown; known: {', '.join(SPLIT_NAMES)}")
        return np.flatnonzero(self.split == SPLIT_NAMES.index(split)).astype(np.int64)

    def rows(self, episode: int) -> slice:
        """The rows of one episode."""
        return slice(
            int(episode_starts(self.episode_ends)[episode]), int(self.episode_ends[episode])
        )


def load_dataset(
    path: Path,
    layout: Layout | None = None,
    fractions: DatasetParams | None = None,
    limit_bytes: int | None = None,
) -> Dataset:
    """Read a data set and check it.

    Args:
        path: the zarr folder, of this pipeline or in the team's form.
        layout: what the numbers must mean; a zarr that does not say is taken to mean this.
        fractions: shares by which a zarr without splits is split, by the episodes' content.
        limit_bytes: states and actions larger than this together stay on disk: what is sliced of
            them is read; None reads everything.

    Raises:
        StoreError: the folder is missing or no zarr, an array is missing or has a wrong shape, or
            layout or split are neither in the zarr nor given; the message names file, value and
            what was expected.
        LayoutError: the layout in the zarr does not fit its fields, or is not `layout`.
        StatsError: it has no statistics, and no training rows to take them of.
    """
    group = open_group(path)
    attributes: dict[str, Any] = dict(group.attrs)
    arrays = [find_array(group, f"data/{name}", path) for name in ("state", "action")]
    if limit_bytes is None or sum(array.nbytes for array in arrays) <= limit_bytes:
        state, action = (_read(array, path).astype(np.float32, copy=False) for array in arrays)
    else:
        # A zarr array is sliced like numpy's; whoever gives a limit takes no more than slices.
        state, action = cast("list[NDArray[np.float32]]", arrays)
    ends = read_array(group, "meta/episode_ends", path).astype(np.int64, copy=False)
    meaning = _layout(path, attributes, state, action, layout)
    _check_shapes(path, state, action, ends, meaning)
    if "meta/split" in group:
        split = read_array(group, "meta/split", path).astype(np.int8, copy=False)
    else:
        split = _split(path, state, action, ends, fractions)
    if split.shape != ends.shape:
        raise StoreError(f"{path}: meta/split has shape {split.shape}, expected {ends.shape}")
    stats = attributes.get("stats") or dataset_stats(state, action, ends, split)
    rate = attributes.get("rate_hz")
    return Dataset(
        path,
        state,
        action,
        ends,
        split,
        None if rate is None else float(rate),
        meaning,
        stats,
        attributes,
    )


def dataset_stats(
    state: NDArray[np.float32],
    action: NDArray[np.float32],
    episode_ends: NDArray[np.int64],
    split: NDArray[np.int8],
) -> dict[str, Stats]:
    """Statistics of the training rows.

    Args:
        state: shape (N, state_dim).
        action: shape (N, action_dim).
        episode_ends: one past the last row of each episode. Shape (E,).
        split: 0 for training episodes. Shape (E,).

    Raises:
        StatsError: no episode is for training.
    """
    rows = episode_rows(episode_ends, np.flatnonzero(split == TRAIN).astype(np.int64))
    return {"state": column_stats(state[rows]), "action": column_stats(action[rows])}


def open_group(path: Path) -> zarr.Group:
    """Open a zarr folder for reading.

    Args:
        path: the folder.

    Raises:
        StoreError: there is no zarr group.
    """
    if not path.is_dir():
        raise StoreError(f"{path}: no such folder, expected a zarr; run the stage that makes it")
    try:
        return zarr.open_group(path, mode="r")
    except Exception as error:  # as below
        raise StoreError(f"{path}: is no zarr group ({error}); expected .zgroup in it") from error


def create_group(path: Path, zarr_format: Literal[2, 3]) -> zarr.Group:
    """Make an empty zarr folder.

    Args:
        path: the folder; what stands there is replaced.
        zarr_format: 2 or 3.
    """
    return zarr.open_group(path, mode="w", zarr_format=zarr_format)


def create_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    chunk_rows: int,
    level: int = 5,
) -> zarr.Array[Any]:
    """Make an array whose chunks span whole rows, compressed as the team's data is.

    Args:
        group: where.
        name: path in the group, for instance "data/state".
        shape: rows first.
        dtype: numpy name.
        chunk_rows: rows of a chunk; more than the array has means one chunk.
        level: strength of zstd; the team's is 5.
    """
    compressor: Any
    if group.metadata.zarr_format == 2:
        compressor = Blosc(cname="zstd", clevel=level, shuffle=Blosc.BITSHUFFLE)
    else:
        compressor = BloscCodec(cname="zstd", clevel=level, shuffle="bitshuffle")
    parent, _, leaf = name.rpartition("/")
    return group.require_group(parent).create_array(
        leaf,
        shape=shape,
        chunks=(chunk_rows, *shape[1:]),
        dtype=dtype,
        compressors=compressor,
    )


def read_array(group: zarr.Group, name: str, path: Path) -> NDArray[Any]:
    """Read a whole array.

    Args:
        group: where.
        name: path in the group.
        path: the zarr folder, for the message.

    Raises:
        StoreError: there is no such array, or it cannot be decoded.
        CodecError: decoding it would run code, or it holds no numbers.
    """
    return _read(find_array(group, name, path), path)


def find_array(group: zarr.Group, name: str, path: Path) -> zarr.Array[Any]:
    """An array without its data.

    Args:
        group: where.
        name: path in the group.
        path: the zarr folder, for the message.

    Raises:
        StoreError: there is no such array.
    """
    try:
        array = group[name]
    except KeyError as error:
        folders = [entry for entry in [*path.glob("*"), *path.glob("*/*")] if entry.is_dir()]
        held = sorted(entry.relative_to(path).as_posix() for entry in folders)
        raise StoreError(
            f"{path}: array {name} is missing, so it is not the zarr that was expected; it holds "
            f"{', '.join(held) or 'nothing'}"
        ) from error
    except Exception as error:  # zarr lets faults of metadata through as they are
        raise StoreError(f"{path}: {name} is no array of numbers ({error})") from error
    if not isinstance(array, zarr.Array):
        raise StoreError(f"{path}: {name} is a group, expected an array")
    require_plain(array, name, path)
    return array


def _read(array: zarr.Array[Any], path: Path) -> NDArray[Any]:
    try:
        return np.asarray(array[...])
    except Exception as error:  # zarr lets faults of codecs through as they are
        name = array.path
        raise StoreError(f"{path}: {name} cannot be read ({error}); make the zarr anew") from error


def _layout(
    path: Path,
    attributes: Mapping[str, Any],
    state: NDArray[np.float32],
    action: NDArray[np.float32],
    expected: Layout | None,
) -> Layout:
    if "layout" in attributes:
        layout = Layout.from_dict(attributes["layout"])
        if expected is not None:
            layout.require(expected, str(path), "params.yaml")
        return layout
    if expected is None:
        raise StoreError(f"{path}: has no layout in its attributes; run `dataset` to make one")
    dims = (state.shape[-1], action.shape[-1])
    if dims != (expected.state_dim, expected.action_dim):
        raise StoreError(
            f"{path}: has no layout, and state and action of {dims[0]} and {dims[1]} numbers; "
            f"params.yaml describes {expected.state_dim} ({expected.describe()}) and "
            f"{expected.action_dim}"
        )
    return expected


def _check_shapes(
    path: Path,
    state: NDArray[np.float32],
    action: NDArray[np.float32],
    ends: NDArray[np.int64],
    layout: Layout,
) -> None:
    if ends.ndim != 1 or len(ends) == 0:
        raise StoreError(f"{path}: meta/episode_ends has shape {ends.shape}, expected (episodes,)")
    steps = int(ends[-1])
    for name, array, width in (
        ("data/state", state, layout.state_dim),
        ("data/action", action, layout.action_dim),
    ):
        if array.shape != (steps, width):
            raise StoreError(
                f"{path}: {name} has shape {array.shape}, expected ({steps}, {width}): the last "
                f"of meta/episode_ends and the layout {layout.describe()}"
            )
    try:
        episode_starts(ends)
    except WindowError as error:
        raise StoreError(f"{path}: meta/episode_ends: {error}") from error


def _split(
    path: Path,
    state: NDArray[np.float32],
    action: NDArray[np.float32],
    ends: NDArray[np.int64],
    fractions: DatasetParams | None,
) -> NDArray[np.int8]:
    if fractions is None:
        raise StoreError(f"{path}: has no meta/split; run `dataset` to make one")
    hashes = [
        hashlib.sha256(state[start:end].tobytes() + action[start:end].tobytes()).hexdigest()
        for start, end in zip(episode_starts(ends), ends, strict=True)
    ]
    return split_episodes(hashes, fractions.val_fraction, fractions.test_fraction)
