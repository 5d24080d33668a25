"""Creates, appends to, checks and reads the arrays of a zarr folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from pipeline.dataset.codecs import require_plain
from pipeline.errors import PipelineError

# Small chunks are read several at a time: a call costs about a millisecond.
_BLOCK_ROWS = 4096
Compression = tuple[Literal["zstd", "lz4"], int]
"""Compressor and its level."""
TEAM_COMPRESSION: Compression = ("zstd", 5)
"""Of the team's data."""


class StoreError(PipelineError):
    """A zarr is missing, or does not hold what it should."""


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
        raise StoreError(
            f"{path}: is not a zarr group ({error}); expected .zgroup in it"
        ) from error


def create_group(path: Path, zarr_format: Literal[2, 3]) -> zarr.Group:
    """Make an empty zarr folder.

    Args:
        path: the folder; replaced if it exists.
        zarr_format: 2 or 3.
    """
    return zarr.open_group(path, mode="w", zarr_format=zarr_format)


def create_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    chunk_rows: int,
    compression: Compression = TEAM_COMPRESSION,
) -> zarr.Array[Any]:
    """Make an array whose chunks span whole rows.

    Args:
        group: where.
        name: path in the group, for instance "data/state".
        shape: rows first.
        dtype: numpy name.
        chunk_rows: rows of a chunk; one chunk if the array has fewer.
        compression: how chunks are compressed.
    """
    compressor: Any
    kind, level = compression
    if group.metadata.zarr_format == 2:
        compressor = Blosc(cname=kind, clevel=level, shuffle=Blosc.BITSHUFFLE)
    else:
        compressor = BloscCodec(cname=kind, clevel=level, shuffle="bitshuffle")
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
    return read_rows(find_array(group, name, path), path)


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
            + (
                ". Vectors without an arm are trained with --layout generic, and --state-array "
                "names what they see (dataset.layout, dataset.state_arrays)"
                if "data/action" in held
                else ""
            )
        ) from error
    except Exception as error:  # zarr raises errors in metadata unchanged
        raise StoreError(f"{path}: {name} is not an array of numbers ({error})") from error
    if not isinstance(array, zarr.Array):
        raise StoreError(f"{path}: {name} is a group, expected an array")
    require_plain(array, name, path)
    return array


def read_rows(array: zarr.Array[Any], path: Path, rows: slice | EllipsisType = ...) -> NDArray[Any]:
    """Rows of an array.

    Args:
        array: as `find_array` returns it.
        path: the zarr folder, for the message.
        rows: which; all by default.

    Raises:
        StoreError: a chunk cannot be decoded.
    """
    try:
        return np.asarray(array[rows])
    except Exception as error:  # zarr raises errors of codecs unchanged
        name = array.path
        raise StoreError(f"{path}: {name} cannot be read ({error}); write it again") from error


def read_spans(
    array: zarr.Array[Any] | NDArray[Any], starts: Iterable[int], ends: Iterable[int], path: Path
) -> Iterator[NDArray[Any]]:
    """The rows of each span in turn; every chunk of a zarr array is unpacked once.

    Args:
        array: of a zarr, or in memory.
        starts: first row of each span; spans rise and do not overlap.
        ends: one past the last row of each span.
        path: the zarr folder, for the message.

    Raises:
        StoreError: a chunk cannot be decoded.
    """
    held, first = np.asarray(array[:0]), 0
    for start, end in zip(starts, ends, strict=True):
        if not isinstance(array, zarr.Array):
            yield array[start:end]
            continue
        read = first + len(held)
        if end > read:
            begin, rows = max(start, read), array.chunks[0]
            rows *= -(-_BLOCK_ROWS // rows)
            block = read_rows(array, path, slice(begin, -(-end // rows) * rows))
            left = held[start - first :] if start < read else held[:0]
            held, first = np.concatenate([left, block]), start
        yield held[start - first : end - first]


class ArrayWriter:
    """Appends rows to an array of a zarr, whole chunks at a time: memory holds one chunk."""

    def __init__(
        self,
        group: zarr.Group,
        name: str,
        row_shape: tuple[int, ...],
        dtype: str,
        chunk_rows: int,
        compression: Compression = TEAM_COMPRESSION,
    ) -> None:
        """Create the array.

        Args:
            group: where.
            name: path in the group.
            row_shape: shape of one row.
            dtype: numpy name.
            chunk_rows: rows of a chunk.
            compression: see `create_array`.
        """
        self._array = create_array(group, name, (0, *row_shape), dtype, chunk_rows, compression)
        self._chunk_rows = chunk_rows
        self._waiting: list[NDArray[Any]] = []
        self._number = 0

    def add(self, rows: NDArray[Any]) -> None:
        """Append rows.

        Args:
            rows: shape (K, *row_shape).
        """
        self._waiting.append(rows)
        self._number += len(rows)
        if self._number >= self._chunk_rows:
            self._write(self._number - self._number % self._chunk_rows)

    def close(self) -> None:
        """Write the last, partial chunk."""
        if self._number:
            self._write(self._number)

    def _write(self, number: int) -> None:
        rows, start = np.concatenate(self._waiting), self._array.shape[0]
        self._array.resize((start + number, *rows.shape[1:]))
        self._array[start:] = rows[:number]
        # A copy, since a view would keep the rows that were written.
        self._waiting = [rows[number:].copy()]
        self._number -= number
