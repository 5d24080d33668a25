"""Episodes at their recorded sampling, on disk: episodes.zarr of the stage ingest.

data/t (N,)  joint_pos joint_vel joint_command (N, J)  ee_pose (N, 7)        float64
meta/episode_ends (E,) int64   object_pos object_axis (E, 3) float64
meta/provenance uint8          JSON, a line an episode: its source, message and what was derived
attributes: joints, object
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode, Provenance
from pipeline.dataset.store import StoreError, create_array, create_group, open_group, read_array
from pipeline.dataset.windows import WindowError, episode_starts

# As the data set's own default; only the stage dataset reads these files.
_FORMAT: Literal[2] = 2
# Rows of a chunk, and of what is held in memory before it is written.
_CHUNK_ROWS = 65536
# Strength of the compression: at 5 it takes as long as all the rest of reading recordings.
_LEVEL = 1
_PROVENANCE = "meta/provenance"
_CHUNK_BYTES = 1 << 20
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_SAMPLE_ARRAYS = ("t", "joint_pos", "joint_vel", "joint_command", "ee_pose")


class EpisodeWriter:
    """Writes episodes one after the other; memory does not grow with their samples."""

    def __init__(self, path: Path, joints: tuple[str, ...], object_name: str) -> None:
        """Make the zarr.

        Args:
            path: the folder; what stands there is replaced.
            joints: names of the J joints.
            object_name: what is grasped.
        """
        self._group = create_group(path, _FORMAT)
        self._attributes: dict[str, Any] = {"joints": list(joints), "object": object_name}
        widths = {"t": (), "ee_pose": (7,)}
        for name in _SAMPLE_ARRAYS:
            shape = (0, *widths.get(name, (len(joints),)))
            create_array(self._group, f"data/{name}", shape, "float64", _CHUNK_ROWS, level=_LEVEL)
        self._pending: list[Episode] = []
        self._pending_rows = 0
        # Rows at the start of the pending ones that are on disk already.
        self._written = 0
        self._rows = 0
        # Compact: of millions of samples only these few numbers an episode stay in memory.
        self._ends = array("q")
        self._objects = array("d")
        create_array(self._group, _PROVENANCE, (0,), "uint8", _CHUNK_BYTES)
        self._lines = bytearray()

    def add(self, episode: Episode) -> None:
        """Append an episode."""
        self._pending.append(episode)
        self._pending_rows += len(episode.t)
        self._ends.append(self._rows + self._pending_rows - self._written)
        self._objects.frombytes(episode.object_pos.tobytes())
        self._objects.frombytes(episode.object_axis.tobytes())
        self._lines += _ENCODER.encode(episode.provenance.to_dict()).encode()
        self._lines += b"\n"
        if len(self._lines) >= _CHUNK_BYTES:
            self._flush_lines(_CHUNK_BYTES)
        if self._pending_rows - self._written >= _CHUNK_ROWS:
            self._flush(_CHUNK_ROWS)

    def close(self) -> None:
        """Write what is left: the last samples, ends, objects and provenance."""
        self._flush(self._pending_rows - self._written)
        places = np.array(self._objects, np.float64).reshape(-1, 6)
        meta = {
            "episode_ends": np.array(self._ends, np.int64),
            "object_pos": places[:, :3],
            "object_axis": places[:, 3:],
        }
        for name, values in meta.items():
            array = create_array(
                self._group, f"meta/{name}", values.shape, values.dtype.name, _CHUNK_ROWS
            )
            array[...] = values
        self._flush_lines(len(self._lines))
        self._group.attrs.update(self._attributes)

    def _array(self, name: str) -> zarr.Array[Any]:
        found = self._group[name]
        if not isinstance(found, zarr.Array):
            raise StoreError(f"{name} of episodes.zarr is no array; run ingest again")
        return found

    def _flush_lines(self, number: int) -> None:
        found = self._array(_PROVENANCE)
        start = found.shape[0]
        found.resize((start + number,))
        found[start:] = np.frombuffer(bytes(self._lines[:number]), np.uint8)
        del self._lines[:number]

    def _flush(self, number: int) -> None:
        """Write pending rows; whole chunks, so that none is compressed twice."""
        if not number:
            return
        start, self._rows = self._rows, self._rows + number
        rows = slice(self._written, self._written + number)
        for name in _SAMPLE_ARRAYS:
            found = self._array(f"data/{name}")
            found.resize((self._rows, *found.shape[1:]))
            pending = np.concatenate([getattr(episode, name) for episode in self._pending])
            found[start:] = pending[rows]
        # The last episode may reach into the next chunk.
        rest = self._pending_rows - rows.stop
        last = self._pending[-1]
        self._pending = [last] if rest else []
        self._pending_rows = len(last.t) if rest else 0
        self._written = self._pending_rows - rest


def read_episodes(path: Path, joints: tuple[str, ...], object_name: str) -> Iterator[Episode]:
    """Episodes in the order of their writing.

    Args:
        path: episodes.zarr.
        joints: names that the joints must have.
        object_name: what must have been grasped.

    Raises:
        StoreError: the zarr is missing or damaged, or was made for another arm or object.
        EpisodeError: an episode's arrays do not fit together.
    """
    group = open_group(path)
    for key, expected in (("joints", list(joints)), ("object", object_name)):
        if group.attrs.get(key) != expected:
            raise StoreError(
                f"{path}: was made for {key} {group.attrs.get(key)!r}, but params.yaml says "
                f"{expected!r}; run ingest again"
            )
    provenance = _lines(read_array(group, _PROVENANCE, path), path)
    arrays = {name: read_array(group, f"data/{name}", path) for name in _SAMPLE_ARRAYS}
    ends = read_array(group, "meta/episode_ends", path)
    position = read_array(group, "meta/object_pos", path)
    axis = read_array(group, "meta/object_axis", path)
    lengths = {len(ends), len(position), len(axis), len(provenance)}
    rows = {len(values) for values in arrays.values()} | {int(ends[-1]) if len(ends) else 0}
    if len(lengths) > 1 or len(rows) > 1:
        raise StoreError(
            f"{path}: arrays differ in length (episodes {sorted(lengths)}, samples "
            f"{sorted(rows)}); run ingest again"
        )
    try:
        starts = episode_starts(ends)
    except WindowError as error:
        raise StoreError(f"{path}: meta/episode_ends: {error}") from error
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        yield Episode(
            t=arrays["t"][start:end],
            joint_pos=arrays["joint_pos"][start:end],
            joint_vel=arrays["joint_vel"][start:end],
            joint_command=arrays["joint_command"][start:end],
            ee_pose=arrays["ee_pose"][start:end],
            object_pos=position[index],
            object_axis=axis[index],
            provenance=_provenance(provenance[index], path),
        )


def _lines(values: NDArray[np.uint8], path: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in values.tobytes().split(b"\n")[:-1]]
    except ValueError as error:
        raise StoreError(f"{path}: {_PROVENANCE} is no JSON ({error}); run ingest again") from error


def _provenance(entry: dict[str, Any], path: Path) -> Provenance:
    try:
        known = {**entry, "joint_names": tuple(entry["joint_names"])}
        return Provenance(**{**known, "derived": tuple(entry["derived"])})
    except (TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: provenance {entry!r} misses {error}; run ingest again"
        ) from error
