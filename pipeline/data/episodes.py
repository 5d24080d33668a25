"""Episodes at their recorded sampling, on disk: episodes.zarr of the stage ingest.

data/t (N,)  joint_pos joint_vel joint_command (N, J)  ee_pose (N, 7)        float64
meta/episode_ends (E,) int64   object_pos object_axis (E, 3) float64
attributes: joints, object, provenance (one entry an episode)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.data.episode import Episode, Provenance
from pipeline.data.store import StoreError, create_array, create_group, open_group, read_array
from pipeline.data.windows import WindowError, episode_starts

# As the data set's own default; only the stage dataset reads these files.
_FORMAT: Literal[2] = 2
# Rows of a chunk, and of what is held in memory before it is written.
_CHUNK_ROWS = 65536
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
            create_array(self._group, f"data/{name}", shape, "float64", _CHUNK_ROWS)
        self._pending: list[Episode] = []
        self._pending_rows = 0
        self._rows = 0
        self._ends: list[int] = []
        self._objects: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._provenance: list[dict[str, Any]] = []

    def add(self, episode: Episode) -> None:
        """Append an episode."""
        self._pending.append(episode)
        self._pending_rows += len(episode.t)
        self._ends.append(self._rows + self._pending_rows)
        self._objects.append((episode.object_pos, episode.object_axis))
        self._provenance.append(episode.provenance.to_dict())
        if self._pending_rows >= _CHUNK_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left: the last samples, ends, objects and provenance."""
        self._flush()
        ends = np.array(self._ends, np.int64)
        meta = {"episode_ends": ends}
        for index, name in enumerate(("object_pos", "object_axis")):
            meta[name] = np.array([pair[index] for pair in self._objects]).reshape(-1, 3)
        for name, values in meta.items():
            array = create_array(
                self._group, f"meta/{name}", values.shape, values.dtype.name, _CHUNK_ROWS
            )
            array[...] = values
        self._group.attrs.update({**self._attributes, "provenance": self._provenance})

    def _flush(self) -> None:
        if not self._pending:
            return
        start, self._rows = self._rows, self._rows + self._pending_rows
        for name in _SAMPLE_ARRAYS:
            array = self._group[f"data/{name}"]
            if not isinstance(array, zarr.Array):
                raise StoreError(f"data/{name} of episodes.zarr is no array; run ingest again")
            array.resize((self._rows, *array.shape[1:]))
            array[start:] = np.concatenate([getattr(episode, name) for episode in self._pending])
        self._pending, self._pending_rows = [], 0


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
    provenance: Any = group.attrs.get("provenance", [])
    arrays = {name: read_array(group, f"data/{name}", path) for name in _SAMPLE_ARRAYS}
    ends = read_array(group, "meta/episode_ends", path)
    position = read_array(group, "meta/object_pos", path)
    axis = read_array(group, "meta/object_axis", path)
    lengths = {len(ends), len(position), len(axis), len(provenance)}
    rows = {len(array) for array in arrays.values()} | {int(ends[-1]) if len(ends) else 0}
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
            **{name: array[start:end] for name, array in arrays.items()},
            object_pos=position[index],
            object_axis=axis[index],
            provenance=_provenance(provenance[index], path),
        )


def _provenance(entry: dict[str, Any], path: Path) -> Provenance:
    try:
        known = {**entry, "joint_names": tuple(entry["joint_names"])}
        return Provenance(**{**known, "derived": tuple(entry["derived"])})
    except (TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: provenance {entry!r} misses {error}; run ingest again"
        ) from error
