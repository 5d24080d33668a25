"""Episodes at their recorded sampling, on disk: episodes.zarr of the stage ingest.

data/t (N,)  joint_pos joint_vel joint_command (N, J)  ee_pose (N, 7)        float64
meta/episode_ends (E,) int64   object_pos object_axis (E, 3) float64
meta/provenance uint8          JSON, one line per episode: its source, message and what was derived
meta/obstacles (M, 12) float64, meta/obstacle_ends (E,) int64     only if an episode has an obstacle
attributes: joints, object
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode, Provenance
from pipeline.dataset.obstacle_arrays import read_obstacles, write_obstacles
from pipeline.dataset.windows import WindowError, episode_starts
from pipeline.dataset.zarr_arrays import (
    ArrayWriter,
    Compression,
    StoreError,
    create_array,
    create_group,
    find_array,
    open_group,
    read_array,
    read_spans,
)

# As the data set's own default; only the stage dataset reads these files.
_FORMAT: Literal[2] = 2
# Rows of a chunk, and of the samples that wait in memory.
_CHUNK_ROWS = 65536
# Three times as fast as zstd's lowest level, and doubles are no larger for it.
_COMPRESSION: Compression = ("lz4", 1)
_PROVENANCE = "meta/provenance"
_CHUNK_BYTES = 1 << 20
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_SAMPLE_ARRAYS = ("t", "joint_pos", "joint_vel", "joint_command", "ee_pose")


class EpisodeWriter:
    """Writes episodes one after the other; memory does not grow with their samples."""

    def __init__(self, path: Path, joints: tuple[str, ...], object_name: str) -> None:
        """Make the zarr.

        Args:
            path: the folder; replaced if it exists.
            joints: names of the J joints.
            object_name: what is grasped.
        """
        self._group = create_group(path, _FORMAT)
        self._attributes: dict[str, Any] = {"joints": list(joints), "object": object_name}
        widths = {"t": (), "ee_pose": (7,)}
        self._samples = {
            name: ArrayWriter(
                self._group, f"data/{name}", widths.get(name, (len(joints),)), "float64",
                _CHUNK_ROWS, _COMPRESSION,
            )
            for name in _SAMPLE_ARRAYS
        }  # fmt: skip
        self._provenance = ArrayWriter(self._group, _PROVENANCE, (), "uint8", _CHUNK_BYTES)
        self._rows = 0
        # These few numbers per episode stay in memory.
        self._ends = array("q")
        self._objects = array("d")
        self._obstacles: list[NDArray[np.float64]] = []

    def add(self, episode: Episode) -> None:
        """Append an episode."""
        for name, writer in self._samples.items():
            writer.add(getattr(episode, name))
        line = _ENCODER.encode(episode.provenance.to_dict()).encode() + b"\n"
        self._provenance.add(np.frombuffer(line, np.uint8))
        self._rows += len(episode.t)
        self._ends.append(self._rows)
        self._objects.frombytes(episode.object_pos.tobytes())
        self._objects.frombytes(episode.object_axis.tobytes())
        # A copy, since a view would keep more than these rows.
        self._obstacles.append(episode.obstacles.copy())

    def close(self) -> None:
        """Write the last samples, the ends, the objects, the obstacles and the provenance."""
        for writer in (*self._samples.values(), self._provenance):
            writer.close()
        places = np.array(self._objects, np.float64).reshape(-1, 6)
        meta = {
            "episode_ends": np.array(self._ends, np.int64),
            "object_pos": places[:, :3],
            "object_axis": places[:, 3:],
        }
        for name, values in meta.items():
            found = create_array(
                self._group, f"meta/{name}", values.shape, values.dtype.name, _CHUNK_ROWS
            )
            found[...] = values
        write_obstacles(self._group, self._obstacles, "float64", _CHUNK_ROWS)
        self._group.attrs.update(self._attributes)


def count_episodes(path: Path) -> int:
    """The number of episodes.

    Args:
        path: episodes.zarr.

    Raises:
        StoreError: the zarr is missing or damaged.
    """
    return find_array(open_group(path), "meta/episode_ends", path).shape[0]


def read_episodes(path: Path, joints: tuple[str, ...], object_name: str) -> Iterator[Episode]:
    """Episodes in the order of their writing; memory holds one chunk of samples.

    Args:
        path: episodes.zarr.
        joints: expected names of the joints.
        object_name: expected object.

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
    arrays = {name: find_array(group, f"data/{name}", path) for name in _SAMPLE_ARRAYS}
    ends = read_array(group, "meta/episode_ends", path)
    position = read_array(group, "meta/object_pos", path)
    axis = read_array(group, "meta/object_axis", path)
    lengths = {len(ends), len(position), len(axis), len(provenance)}
    rows = {values.shape[0] for values in arrays.values()} | {int(ends[-1]) if len(ends) else 0}
    if len(lengths) > 1 or len(rows) > 1:
        raise StoreError(
            f"{path}: arrays differ in length (episodes {sorted(lengths)}, samples "
            f"{sorted(rows)}); run ingest again"
        )
    try:
        starts = episode_starts(ends)
    except WindowError as error:
        raise StoreError(f"{path}: meta/episode_ends: {error}") from error
    obstacles, obstacle_ends = read_obstacles(group, len(ends), path)
    around = np.split(obstacles, obstacle_ends[:-1])
    samples = (read_spans(values, starts, ends, path) for values in arrays.values())
    for index, parts in enumerate(zip(*samples, strict=True)):
        yield Episode(
            **dict(zip(arrays, parts, strict=True)),
            object_pos=position[index],
            object_axis=axis[index],
            provenance=_provenance(provenance[index], path),
            obstacles=around[index],
        )


def _lines(values: NDArray[np.uint8], path: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in values.tobytes().split(b"\n")[:-1]]
    except ValueError as error:
        raise StoreError(
            f"{path}: {_PROVENANCE} is not JSON ({error}); run ingest again"
        ) from error


def _provenance(entry: dict[str, Any], path: Path) -> Provenance:
    try:
        known = {**entry, "joint_names": tuple(entry["joint_names"])}
        return Provenance(**{**known, "derived": tuple(entry["derived"])})
    except (TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: provenance {entry!r} misses {error}; run ingest again"
        ) from error
