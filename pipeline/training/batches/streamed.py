"""Training windows that are read from disk block by block, for data sets that exceed the memory.

Shapes: N rows of the data set, W windows, B windows of a batch, T history steps, H horizon, S state
numbers, A action numbers.

    epoch    blocks in a random order  3 0 6 | 5 1 4 | 2      whole episodes, read at once
    buffer   three of them, windows shuffled inside; meanwhile a thread reads the next three
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.dataset.store import Dataset
from pipeline.dataset.windows import Index, episode_starts
from pipeline.errors import PipelineError
from pipeline.training.batches.windows import with_obstacles

BLOCKS_A_BUFFER = 8
"""Blocks whose windows are shuffled together: one batch mixes as many places of the data set."""
BUFFERS = 3
"""Buffers that must fit in memory: one is trained on, one is read, and its parts need a third."""


class StreamError(PipelineError):
    """A data set cannot be streamed within the memory it is given."""


class Rows(Protocol):
    """Rows on disk or in memory: slices are read as arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        """The rows of a slice."""


@dataclass(frozen=True)
class _Buffer:
    """The rows of some blocks on the device, and where each block begins in them."""

    state: Tensor
    action: Tensor
    offsets: dict[int, int]


class StreamedWindows:
    """Windows whose rows are read when a batch needs them.

    The rows of the chosen episodes, one after the other, are numbered like their windows: window w
    observes row w. So a block is a range of windows, and no index of W rows is kept.
    """

    def __init__(
        self,
        rows: tuple[Rows, Rows],
        episode_ends: Index,
        episodes: Index,
        lengths: tuple[int, int],
        limit_bytes: int,
        device: torch.device,
        obstacles: Tensor | None = None,
    ) -> None:
        """Divide the episodes into blocks.

        Args:
            rows: states (N, S) and actions (N, A).
            episode_ends: one past the last row of each episode, shape (E,).
            episodes: the chosen ones, rising, shape (K,).
            lengths: n_obs_steps T and horizon H.
            limit_bytes: that all buffers together may take.
            device: where batches are made.
            obstacles: numbers of the obstacles of each chosen episode, shape (K, O); None where
                none are seen.

        Raises:
            StreamError: an episode is larger than a block may be.
            WindowError: an episode has no rows.
        """
        self.device, self._rows, self._obstacles = device, rows, obstacles
        self._history = np.arange(1 - lengths[0], 1)
        self._future = np.arange(lengths[1])
        starts, ends = episode_starts(episode_ends)[episodes], episode_ends[episodes]
        self._starts, self._ends = starts, ends
        self._first = np.concatenate((np.zeros(1, np.int64), np.cumsum(ends - starts)))
        row_bytes = 4 * sum(array.shape[1] for array in rows)
        most = int(limit_bytes / (BUFFERS * BLOCKS_A_BUFFER * row_bytes))
        if (ends - starts).max() > most:
            raise StreamError(
                f"an episode of {(ends - starts).max()} steps is larger than a block of {most}: "
                f"{BUFFERS} buffers of {BLOCKS_A_BUFFER} blocks share {limit_bytes / 1e6:.1f} MB; "
                "raise train.data_limit_gb"
            )
        # The first episode of each block; each takes as many whole episodes as fit.
        cuts = [0]
        for episode in range(1, len(starts)):
            if self._first[episode + 1] - self._first[cuts[-1]] > most:
                cuts.append(episode)
        self._cuts = np.array([*cuts, len(starts)])
        self._block_starts = self._first[self._cuts]
        self._group(np.arange(self.num_blocks))
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._current: tuple[int, _Buffer] | None = None
        self._ahead: tuple[int, Future[_Buffer]] | None = None

    def __len__(self) -> int:
        """Number of windows, W."""
        return int(self._first[-1])

    @property
    def num_blocks(self) -> int:
        """Blocks of an epoch."""
        return len(self._cuts) - 1

    def order(self, generator: torch.Generator) -> Tensor:
        """The windows of one epoch in the order of its batches, shape (W,), on the host.

        Args:
            generator: the same state gives the same order.
        """
        device = generator.device
        blocks = torch.randperm(self.num_blocks, generator=generator, device=device)
        self._group(blocks.cpu().numpy())
        parts = []
        for group in self._groups:
            windows = np.concatenate([np.arange(*self._block_starts[b : b + 2]) for b in group])
            mixed = torch.randperm(len(windows), generator=generator, device=device)
            parts.append(torch.from_numpy(windows)[mixed.cpu()])
        return torch.cat(parts)

    def batch(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Raw observations (B, T, S) and actions (B, H, A) of the windows (B,), any of them.

        Fast where windows follow `order`, since the next ones are then read ahead.
        """
        chosen = windows.cpu().numpy()
        blocks = np.searchsorted(self._block_starts, chosen, "right") - 1
        groups = self._group_of_block[blocks]
        if len(chosen) and (groups == groups[0]).all():
            return self._gather(int(groups[0]), chosen, blocks)
        places, parts = [], []
        for group in np.unique(groups):
            place = np.flatnonzero(groups == group)
            places.append(place)
            parts.append(self._gather(int(group), chosen[place], blocks[place]))
        back = torch.from_numpy(np.argsort(np.concatenate(places))).to(self.device)
        obs, action = (torch.cat(part)[back] for part in zip(*parts, strict=True))
        return obs, action

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All windows in their own order, a batch at a time.

        Args:
            size: windows of a batch.
        """
        for rows in torch.split(torch.arange(len(self)), size):
            yield self.batch(rows)

    def _group(self, blocks: NDArray[np.int64]) -> None:
        """Assign blocks to buffers in the order of an epoch."""
        self._groups = np.split(blocks, range(BLOCKS_A_BUFFER, len(blocks), BLOCKS_A_BUFFER))
        self._group_of_block = np.empty(self.num_blocks, np.int64)
        for index, group in enumerate(self._groups):
            self._group_of_block[group] = index
        self._current = self._ahead = None

    def _gather(
        self, group: int, windows: NDArray[np.int64], blocks: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        buffer = self._buffer(group)
        episodes = np.searchsorted(self._first, windows, "right") - 1
        shift = np.array([buffer.offsets[int(block)] for block in blocks])
        shift = (shift - self._block_starts[blocks])[:, None]
        first, last = self._first[episodes][:, None], self._first[episodes + 1][:, None] - 1
        obs_rows = np.maximum(windows[:, None] + self._history, first) + shift
        action_rows = np.minimum(windows[:, None] + self._future, last) + shift
        obs, action = (torch.from_numpy(rows).to(self.device) for rows in (obs_rows, action_rows))
        if self._obstacles is None:
            return buffer.state[obs], buffer.action[action]
        around = self._obstacles[torch.from_numpy(episodes).to(self.device)]
        return with_obstacles(buffer.state[obs], around), buffer.action[action]

    def _buffer(self, group: int) -> _Buffer:
        """The rows of a group; the group after it is read meanwhile."""
        if self._current is not None and self._current[0] == group:
            return self._current[1]
        self._current = None
        if self._ahead is not None and self._ahead[0] == group:
            buffer = self._ahead[1].result()
        else:
            buffer = self._read(self._groups[group])
        self._current, self._ahead = (group, buffer), None
        if group + 1 < len(self._groups):
            following = self._groups[group + 1]
            self._ahead = (group + 1, self._reader.submit(self._read, following))
        return buffer

    def _read(self, blocks: NDArray[np.int64]) -> _Buffer:
        """Read blocks from disk; runs in the reading thread."""
        parts: list[list[NDArray[np.float32]]] = [[], []]
        offsets, total = {}, 0
        for block in blocks:
            chosen = slice(*self._cuts[block : block + 2])
            starts, ends = self._starts[chosen], self._ends[chosen]
            span = slice(int(starts[0]), int(ends[-1]))
            inside = np.zeros(span.stop - span.start, bool)
            for start, end in zip(starts - span.start, ends - span.start, strict=True):
                inside[start:end] = True
            for part, array in zip(parts, self._rows, strict=True):
                part.append(np.asarray(array[span], dtype=np.float32)[inside])
            offsets[int(block)] = total
            total += int(inside.sum())
        state, action = (torch.from_numpy(np.concatenate(part)) for part in parts)
        # Not pinned: this thread may wait for its copies, and pinning would happen on GPU 0.
        return _Buffer(state.to(self.device), action.to(self.device), offsets)


def resident_bytes(dataset: Dataset, episodes: Index, lengths: tuple[int, int]) -> int:
    """Bytes of some episodes' windows when the whole data set lies on the device.

    Args:
        dataset: all rows, of every split.
        episodes: the chosen ones, shape (K,).
        lengths: n_obs_steps T and horizon H.
    """
    rows, _ = dataset.state.shape
    windows = (dataset.episode_ends - episode_starts(dataset.episode_ends))[episodes].sum()
    numbers = dataset.state.shape[1] + dataset.action.shape[1]
    return int(4 * rows * numbers + 8 * windows * sum(lengths))
