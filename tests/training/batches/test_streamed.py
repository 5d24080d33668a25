from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dataset.windows import window_index
from pipeline.training.batches.streamed import (
    BLOCKS_A_BUFFER,
    BUFFERS,
    StreamedWindows,
    StreamError,
)
from pipeline.training.batches.windows import Windows

CPU = torch.device("cpu")
ROW_BYTES = 4 * (3 + 2)


def make(lengths: list[int], chosen: list[int], block_rows: int) -> tuple[StreamedWindows, Windows]:
    ends = np.cumsum(lengths).astype(np.int64)
    rng = np.random.default_rng(0)
    state, action = (rng.normal(size=(ends[-1], n)).astype(np.float32) for n in (3, 2))
    episodes = np.array(chosen, np.int64)
    limit = BUFFERS * BLOCKS_A_BUFFER * block_rows * ROW_BYTES
    streamed = StreamedWindows((state, action), ends, episodes, (2, 4), limit, CPU)
    rows = window_index(ends, episodes, 2, 4)
    return streamed, Windows(*(torch.from_numpy(a) for a in (state, action, *rows)))


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=60))
    chosen = draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))
    return lengths, sorted(chosen), draw(st.integers(6, 20))


@given(cut=cuts(), seed=st.integers(0, 100), size=st.integers(1, 9))
@settings(deadline=None)
def test_an_epoch_gives_every_window_once_and_as_the_resident_data_does(
    cut: tuple[list[int], list[int], int], seed: int, size: int
) -> None:
    streamed, resident = make(*cut)
    assert len(streamed) == len(resident)
    order = streamed.order(torch.Generator().manual_seed(seed))
    assert sorted(order.tolist()) == list(range(len(resident)))
    for windows in torch.split(order, size):
        for ours, theirs in zip(streamed.batch(windows), resident.batch(windows), strict=True):
            assert torch.equal(ours, theirs)


def test_windows_come_in_their_own_order_too_and_in_any_other() -> None:
    streamed, resident = make([5] * 40, list(range(0, 40, 2)), 10)
    streamed.order(torch.Generator().manual_seed(0))
    pieces = [torch.cat(parts) for parts in zip(*streamed.batches(7), strict=True)]
    whole = resident.batch(torch.arange(len(resident)))
    assert all(map(torch.equal, pieces, whole))
    some = torch.tensor([99, 0, 50, 1])
    assert all(map(torch.equal, streamed.batch(some), resident.batch(some)))


def test_the_same_seed_gives_the_same_order_and_places_mix() -> None:
    streamed, _ = make([5] * 400, list(range(400)), 10)
    first, again, other = (
        streamed.order(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # Eight of 200 blocks meet in a buffer: a batch spans a good part of the data set.
    spans = torch.stack([batch.max() - batch.min() for batch in torch.split(first, 64)])
    assert spans.float().mean() > 0.5 * len(streamed)


def test_no_more_is_read_than_the_limit_allows() -> None:
    streamed, _ = make([5] * 400, list(range(400)), 10)
    reads: list[int] = []
    inner = streamed._read

    def counted(blocks: np.ndarray) -> object:
        buffer = inner(blocks)
        reads.append(buffer.state.nbytes + buffer.action.nbytes)
        return buffer

    streamed._read = counted  # type: ignore[method-assign, assignment]
    for windows in torch.split(streamed.order(torch.Generator().manual_seed(0)), 64):
        streamed.batch(windows)
    assert max(reads) <= BLOCKS_A_BUFFER * 10 * ROW_BYTES
    assert sum(reads) == 2000 * ROW_BYTES, "every row is read once an epoch"


def test_an_episode_that_no_block_holds_is_refused() -> None:
    with pytest.raises(StreamError, match=r"12 steps.*train\.data_limit_gb"):
        make([5, 12], [0, 1], 10)
