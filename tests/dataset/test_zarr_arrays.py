"""Arrays are written and read a chunk at a time, and come back as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from pipeline.dataset import zarr_arrays
from pipeline.dataset.zarr_arrays import (
    ArrayWriter,
    StoreError,
    create_array,
    create_group,
    find_array,
    open_group,
    read_spans,
)


def test_what_is_no_zarr_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        open_group(tmp_path / "nothing")
    with pytest.raises(StoreError, match="not a zarr group"):
        open_group(tmp_path)


@pytest.mark.parametrize(
    ("zarr_format", "codec"),
    [
        (2, Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)),
        (3, BloscCodec(typesize=4, cname="zstd", clevel=5, shuffle="bitshuffle")),
    ],
)
def test_chunks_are_compressed_as_those_of_the_team(tmp_path, zarr_format, codec):
    create_array(create_group(tmp_path / "x", zarr_format), "x", (9, 2), "float32", 4)
    array = find_array(open_group(tmp_path / "x"), "x", tmp_path / "x")
    assert (array.compressors, array.chunks) == ((codec,), (4, 2))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=6), st.integers(1, 12))
def test_rows_that_are_appended_equal_an_array_written_at_once(
    tmp_path_factory, lengths, chunk_rows
):
    folder = tmp_path_factory.mktemp("zarr")
    rows = np.arange(sum(lengths) * 3, dtype=np.float32).reshape(-1, 3)
    parts, whole = (create_group(folder / name, 2) for name in ("parts", "whole"))
    writer = ArrayWriter(parts, "data/x", (3,), "float32", chunk_rows)
    for part in np.split(rows, np.cumsum(lengths)[:-1]):
        writer.add(part)
    writer.close()
    create_array(whole, "data/x", rows.shape, "float32", chunk_rows)[...] = rows
    files = sorted(file.relative_to(folder / "whole") for file in (folder / "whole").rglob("*.*"))
    for file in files:
        if (folder / "whole" / file).is_file():
            assert (folder / "parts" / file).read_bytes() == (folder / "whole" / file).read_bytes()


@pytest.mark.parametrize("block_rows", [1, 7, 4096])
def test_spans_are_the_rows_between_their_ends_on_disk_and_in_memory(
    tmp_path, monkeypatch, block_rows
):
    monkeypatch.setattr(zarr_arrays, "_BLOCK_ROWS", block_rows)
    rows = np.arange(90.0).reshape(45, 2)
    create_array(create_group(tmp_path / "x", 3), "x", rows.shape, "float64", 7)[...] = rows
    array = find_array(open_group(tmp_path / "x"), "x", tmp_path / "x")
    starts, ends = [0, 3, 20, 43], [3, 17, 21, 45]
    for stored in (array, rows):
        spans = list(read_spans(stored, starts, ends, tmp_path))
        assert [span.tolist() for span in spans] == [
            rows[start:end].tolist() for start, end in zip(starts, ends, strict=True)
        ]
        with pytest.raises(ValueError, match="shorter"):
            list(read_spans(stored, starts, ends[:-1], tmp_path))


def test_a_span_in_a_damaged_chunk_is_refused(tmp_path):
    create_array(create_group(tmp_path / "x", 2), "x", (20,), "float64", 5)[...] = np.arange(20.0)
    (tmp_path / "x/x/2").write_bytes(b"garbage")
    array = find_array(open_group(tmp_path / "x"), "x", tmp_path / "x")
    with pytest.raises(StoreError, match="x cannot be read"):
        list(read_spans(array, [0], [20], tmp_path / "x"))
