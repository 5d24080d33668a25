"""Shards hold every recording once, in order."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.validation import shards as module
from pipeline.validation.shards import make_shards


@given(st.lists(st.integers(0, 10**8), max_size=200))
def test_shards_hold_every_recording_in_order(sizes):
    paths = [Path(str(index)) for index in range(len(sizes))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_size", lambda path: sizes[int(path.name)])
        shards = make_shards(paths)
    assert [path for shard in shards for path in shard] == paths
    assert all(0 < len(shard) <= 64 for shard in shards)
    for shard in shards:
        assert len(shard) == 1 or sum(sizes[int(path.name)] for path in shard) <= 8_000_000


def test_many_small_files_share_a_shard_and_large_ones_do_not(tmp_path):
    paths = [tmp_path / str(index) for index in range(100)]
    for path in paths:
        path.write_bytes(b"x" * 100)
    assert [len(shard) for shard in make_shards(paths)] == [64, 36]
    folder = tmp_path / "bag"
    folder.mkdir()
    with (folder / "a").open("wb") as file:
        file.truncate(8_000_000)
    assert make_shards([*paths[:3], folder]) == [paths[:3], [folder]]
