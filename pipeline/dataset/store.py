"""Loads a training zarr and checks it.

Owns names, shapes and attributes of the zarr; also reads the form that the team's scripts wrote
(no split, no statistics, no layout).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.dataset.obstacle_arrays import read_obstacles
from pipeline.dataset.split import SPLIT_NAMES, TRAIN, split_episodes
from pipeline.dataset.statistics import Stats, column_stats
from pipeline.dataset.windows import Index, WindowError, episode_starts
from pipeline.dataset.zarr_arrays import (
    StoreError,
    find_array,
    open_group,
    read_array,
    read_rows,
    read_spans,
)
from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS
from pipeline.params import DatasetParams

Rows = NDArray[np.float32]


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
    """Control rate, Hz; None if the zarr does not say."""
    layout: Layout
    stats: Mapping[str, Stats] = field(repr=False)
    """`state` and `action`: min, max, mean and std of the training rows."""
    attributes: Mapping[str, Any] = field(repr=False)
    """The zarr's attributes, unchanged."""
    obstacle_rows: Rows = field(
        default_factory=lambda: np.zeros((0, COLUMNS), np.float32), repr=False
    )
    """Obstacles of all episodes, rows of `pipeline.obstacles`. Shape (M, 12)."""
    obstacle_ends: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, np.int64), repr=False
    )
    """One past the last obstacle of each episode. Shape (E,); (0,) stands for none anywhere."""

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.episode_ends)

    @property
    def num_steps(self) -> int:
        """Number of rows."""
        return len(self.state)

    @property
    def has_obstacles(self) -> bool:
        """Whether any episode has an obstacle."""
        return len(self.obstacle_rows) > 0

    @property
    def max_obstacles(self) -> int:
        """The largest number of obstacles in an episode, 0 if there are none."""
        return int(np.diff(self.obstacle_ends, prepend=0).max(initial=0))

    def obstacles(self, episode: int) -> Rows:
        """The obstacles of one episode, rows of `pipeline.obstacles`.

        Args:
            episode: its index.

        Returns:
            Shape (M, 12).
        """
        if not self.has_obstacles:
            return self.obstacle_rows
        ends = self.obstacle_ends
        return self.obstacle_rows[ends[episode - 1] if episode else 0 : ends[episode]]

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
        layout: expected meaning of the numbers; assumed if the zarr has none.
        fractions: shares by which a zarr without splits is split, by the episodes' content.
        limit_bytes: states and actions that are larger than this together stay on disk, and slices
            of them are read when needed; None loads everything.

    Raises:
        StoreError: the folder is missing or no zarr, an array is missing or has a wrong shape, or
            layout or split are neither in the zarr nor given; the message names file, value and
            what was expected.
        LayoutError: the layout in the zarr does not fit its fields, or is not `layout`.
        StatsError: it has neither statistics nor training rows.
    """
    group = open_group(path)
    attributes: dict[str, Any] = dict(group.attrs)
    arrays = [find_array(group, f"data/{name}", path) for name in ("state", "action")]
    if limit_bytes is None or sum(array.nbytes for array in arrays) <= limit_bytes:
        state, action = (read_rows(array, path).astype(np.float32, copy=False) for array in arrays)
    else:
        # A zarr array is sliced like numpy's; callers that give a limit only take slices.
        state, action = cast("list[Rows]", arrays)
    meaning = _layout(path, attributes, state, action, layout)
    ends, split = read_episodes(group, path, state, action, meaning, fractions)
    stats = attributes.get("stats") or dataset_stats(state, action, ends, split, path)
    obstacles, obstacle_ends = read_obstacles(group, len(ends), path)
    return Dataset(
        path,
        state,
        action,
        ends,
        split,
        read_rate(attributes),
        meaning,
        stats,
        attributes,
        obstacles.astype(np.float32, copy=False),
        obstacle_ends,
    )


def read_episodes(
    group: zarr.Group,
    path: Path,
    state: Rows,
    action: Rows,
    layout: Layout,
    fractions: DatasetParams | None,
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Read one past the last row of each episode, and its split, shape (E,) each; check all shapes.

    Args:
        group: of the zarr.
        path: its folder, for messages.
        state: shape (N, state_dim), in memory or on disk.
        action: shape (N, action_dim), in memory or on disk.
        layout: the meaning of the numbers.
        fractions: shares by which a zarr without splits is split, by the episodes' content.

    Raises:
        StoreError: an array is missing or has a wrong shape, or there is no split.
    """
    ends = read_array(group, "meta/episode_ends", path).astype(np.int64, copy=False)
    _check_shapes(path, state, action, ends, layout)
    if "meta/split" in group:
        split = read_array(group, "meta/split", path).astype(np.int8, copy=False)
    else:
        split = _split(path, state, action, ends, fractions)
    if split.shape != ends.shape:
        raise StoreError(f"{path}: meta/split has shape {split.shape}, expected {ends.shape}")
    return ends, split


def read_rate(attributes: Mapping[str, Any]) -> float | None:
    """The control rate in a zarr's attributes, Hz; None if they do not say."""
    return None if attributes.get("rate_hz") is None else float(attributes["rate_hz"])


def dataset_stats(
    state: Rows | zarr.Array[Any],
    action: Rows | zarr.Array[Any],
    episode_ends: NDArray[np.int64],
    split: NDArray[np.int8],
    path: Path,
) -> dict[str, Stats]:
    """Statistics of the training rows.

    Args:
        state: shape (N, state_dim), in memory or on disk.
        action: shape (N, action_dim), in memory or on disk.
        episode_ends: one past the last row of each episode. Shape (E,).
        split: 0 for training episodes. Shape (E,).
        path: the zarr folder, for the message.

    Raises:
        StatsError: no episode is for training.
        StoreError: a chunk cannot be decoded.
    """
    chosen = np.flatnonzero(split == TRAIN)
    starts, ends = episode_starts(episode_ends)[chosen], episode_ends[chosen]
    return {
        "state": column_stats(lambda: read_spans(state, starts, ends, path)),
        "action": column_stats(lambda: read_spans(action, starts, ends, path)),
    }


def _layout(
    path: Path,
    attributes: Mapping[str, Any],
    state: Rows,
    action: Rows,
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
            f"{expected.action_dim}. Vectors without an arm are trained with --layout generic"
        )
    return expected


def _check_shapes(
    path: Path,
    state: Rows,
    action: Rows,
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
    state: Rows,
    action: Rows,
    ends: NDArray[np.int64],
    fractions: DatasetParams | None,
) -> NDArray[np.int8]:
    if fractions is None:
        raise StoreError(f"{path}: has no meta/split; run `dataset` to make one")
    starts = episode_starts(ends)
    spans = (read_spans(rows, starts, ends, path) for rows in (state, action))
    hashes = [
        hashlib.sha256(states.tobytes() + actions.tobytes()).hexdigest()
        for states, actions in zip(*spans, strict=True)
    ]
    return split_episodes(hashes, fractions.val_fraction, fractions.test_fraction)
