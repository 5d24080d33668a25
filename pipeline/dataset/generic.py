"""Reads a zarr of plain vectors: states and actions of any widths, without an arm.

This is the form of Diffusion Policy's own data sets: arrays in `data`, of which some make up the
state, `data/action`, and `meta/episode_ends`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr

from pipeline.dataset.store import Dataset, Rows, dataset_stats, read_episodes, read_rate
from pipeline.dataset.zarr_arrays import StoreError, find_array, open_group, read_rows
from pipeline.layout import Layout
from pipeline.params import DatasetParams

_ENTRY = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<start>\d*):(?P<end>\d*)\])?")


@dataclass(frozen=True)
class _Part:
    """A part of the state: an array of the zarr, or some of its columns."""

    entry: str
    array: zarr.Array[Any]
    columns: slice

    @property
    def width(self) -> int:
        """Numbers of one row."""
        every = int(np.prod(self.array.shape[1:]))
        return len(range(every)[self.columns])

    def read(self, path: Path) -> Rows:
        """All rows, each flattened. Shape (N, width)."""
        rows = read_rows(self.array, path)
        return rows.reshape(len(rows), -1)[:, self.columns].astype(np.float32, copy=False)


def load_generic(path: Path, params: DatasetParams, limit_bytes: int | None = None) -> Dataset:
    """Read a data set of plain vectors and check it.

    Args:
        path: the zarr folder.
        params: which arrays make up the state, and the shares of the splits where the zarr has
            none.
        limit_bytes: a state that is one whole array of vectors, and the action, stay on disk if
            they are larger than this together; None loads everything.

    Raises:
        StoreError: the folder is missing or no zarr, an array or a column is missing, or a shape is
            wrong.
        StatsError: no episode is for training, or a number is not finite.
    """
    group = open_group(path)
    parts = [_part(group, entry, path) for entry in params.state_arrays]
    acted = find_array(group, "data/action", path)
    empty = [part.entry for part in parts if not part.width]
    if empty or len({part.entry for part in parts}) < len(parts):
        raise StoreError(
            f"{path}: dataset.state_arrays is {list(params.state_arrays)}; expected arrays or "
            f"columns that exist, each named once"
            + (f", but {', '.join(empty)} has no numbers" if empty else "")
        )
    if len(acted.shape) != 2:
        raise StoreError(f"{path}: data/action has shape {acted.shape}, expected (steps, numbers)")
    lengths = {part.entry: part.array.shape[0] for part in parts}
    lengths["action"] = acted.shape[0]
    if len(set(lengths.values())) > 1:
        raise StoreError(f"{path}: arrays of different lengths, expected equal ones: {lengths}")
    layout = Layout.generic({part.entry: part.width for part in parts}, acted.shape[1])
    whole = len(parts) == 1 and parts[0].array.shape[1:] == (parts[0].width,)
    size = acted.nbytes + sum(part.array.nbytes for part in parts)
    state: Rows
    action: Rows
    if whole and limit_bytes is not None and size > limit_bytes:
        # A zarr array is sliced like numpy's; callers that give a limit only take slices.
        state, action = cast("list[Rows]", [parts[0].array, acted])
    else:
        state = np.concatenate([part.read(path) for part in parts], axis=1)
        action = read_rows(acted, path).astype(np.float32, copy=False)
    ends, split = read_episodes(group, path, state, action, layout, params)
    attributes = dict(group.attrs)
    stats = dataset_stats(state, action, ends, split, path)
    return Dataset(
        path, state, action, ends, split, read_rate(attributes), layout, stats, attributes
    )


def _part(group: zarr.Group, entry: str, path: Path) -> _Part:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise StoreError(
            f"dataset.state_arrays names {entry!r}; expected an array of the zarr's folder data, "
            "for instance state, or some of its columns, for instance state[0:2]"
        )
    columns = slice(*(int(match[key]) if match[key] else None for key in ("start", "end")))
    return _Part(entry, find_array(group, f"data/{match['name']}", path), columns)
