"""Writes LeRobot data sets of format v3, with the files, columns and types of LeRobot 0.6.

meta/info.json, meta/stats.json             features, rate and splits; statistics of all episodes
meta/tasks.parquet                          the one task, in words
meta/episodes/chunk-000/file-000.parquet    a row for each episode: place and statistics
data/chunk-000/file-000.parquet             a row for each frame, a row group for each episode

Writing parquet needs pyarrow, the extra `lerobot` of the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.formats.lerobot import LerobotError
from pipeline.recordings.formats.lerobot_statistics import (
    Statistics,
    TotalStatistics,
    episode_statistics,
)
from pipeline.run import write_json

_FILES_PER_FOLDER = 1000
_FILE_MB = 100
# Unused here; LeRobot expects it.
_VIDEO_FILE_MB = 200
# Rows of meta/episodes that wait in memory.
_WAITING = 256
_PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_COUNTERS = ("frame_index", "episode_index", "index", "task_index")


class LerobotWriter:
    """Writes a data set episode by episode; memory does not grow with frames."""

    def __init__(
        self,
        folder: Path,
        features: Mapping[str, tuple[str, ...]],
        fps: int,
        task: str,
        robot: str,
        file_bytes: int = _FILE_MB << 20,
    ) -> None:
        """Begin a data set.

        Args:
            folder: empty, or missing.
            features: names of the D numbers of each column: action, observation.state, ….
            fps: frames per second.
            task: what the robot does, in words.
            robot: name of the robot.
            file_bytes: size before compression from which another parquet file is begun.

        Raises:
            LerobotError: pyarrow is not installed.
        """
        require_pyarrow(folder)
        self._folder, self._features, self._fps = folder, dict(features), fps
        self._task, self._robot = task, robot
        self._data = _Files(folder / "data", file_bytes)
        self._episodes = _Files(folder / "meta" / "episodes", file_bytes)
        self._waiting: list[dict[str, Any]] = []
        self._total = TotalStatistics()
        self._num_episodes = self._num_frames = 0

    def add(self, frames: Mapping[str, NDArray[np.float32]]) -> None:
        """Append an episode.

        Args:
            frames: by feature. Shape (T, D).
        """
        length = len(next(iter(frames.values())))
        columns = {name: frames[name] for name in self._features}
        columns |= self._counted(length)
        table = _table(columns)
        chunk, file = self._data.place(table.nbytes)
        self._data.write(table)
        found = episode_statistics(columns)
        self._total.add(found)
        place = {
            "episode_index": self._num_episodes,
            "tasks": [self._task],
            "length": length,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self._num_frames,
            "dataset_to_index": self._num_frames + length,
        }
        self._waiting.append(place | _flat(found))
        self._num_episodes += 1
        self._num_frames += length
        if len(self._waiting) >= _WAITING:
            self._write_episodes()

    def close(self, splits: Mapping[str, tuple[int, int]]) -> None:
        """Write the rest.

        Args:
            splits: first episode of each split and one past its last.
        """
        self._write_episodes()
        self._data.close()
        self._episodes.close()
        meta = self._folder / "meta"
        _write_task(meta / "tasks.parquet", self._task)
        write_json(meta / "stats.json", self._total.to_dict())
        write_json(meta / "info.json", self._info(splits))

    def _counted(self, length: int) -> dict[str, NDArray[Any]]:
        """The columns that LeRobot counts itself when it records."""
        frame = np.arange(length)
        return {
            "timestamp": (frame / self._fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(length, self._num_episodes),
            "index": self._num_frames + frame,
            "task_index": np.zeros(length, np.int64),
        }

    def _write_episodes(self) -> None:
        if not self._waiting:
            return
        import pyarrow

        table = pyarrow.Table.from_pylist(self._waiting)
        place = zip(("chunk_index", "file_index"), self._episodes.place(table.nbytes), strict=True)
        for name, number in place:
            numbers = pyarrow.array(np.full(len(table), number))
            table = table.append_column(f"meta/episodes/{name}", numbers)
        self._episodes.write(table)
        self._waiting = []

    def _info(self, splits: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        def feature(kind: str, names: tuple[str, ...] | None) -> dict[str, Any]:
            return {
                "dtype": kind,
                "shape": [len(names) if names else 1],
                "names": list(names) if names else None,
            }

        features = {name: feature("float32", names) for name, names in self._features.items()}
        features["timestamp"] = feature("float32", None)
        features |= {name: feature("int64", None) for name in _COUNTERS}
        return {
            "codebase_version": "v3.0",
            "fps": self._fps,
            "features": features,
            "total_episodes": self._num_episodes,
            "total_frames": self._num_frames,
            "total_tasks": 1,
            "chunks_size": _FILES_PER_FOLDER,
            "data_files_size_in_mb": _FILE_MB,
            "video_files_size_in_mb": _VIDEO_FILE_MB,
            "data_path": f"data/{_PLACE}",
            "video_path": None,
            "robot_type": self._robot,
            "splits": {name: f"{start}:{end}" for name, (start, end) in splits.items()},
        }


class _Files:
    """Numbered parquet files; another one is begun where one is full."""

    def __init__(self, folder: Path, file_bytes: int) -> None:
        self._folder, self._file_bytes = folder, file_bytes
        self._number = self._size = 0
        self._writer: Any = None

    def place(self, size: int) -> tuple[int, int]:
        """Numbers of the folder and of the file that the next `size` bytes go to."""
        if self._size and self._size + size > self._file_bytes:
            self.close()
            self._number += 1
            self._size = 0
        return divmod(self._number, _FILES_PER_FOLDER)

    def write(self, table: Any) -> None:
        """Append a row group to the file of `place`."""
        from pyarrow import parquet

        if self._writer is None:
            chunk, number = divmod(self._number, _FILES_PER_FOLDER)
            path = self._folder / _PLACE.format(chunk_index=chunk, file_index=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(path, table.schema)
        self._writer.write_table(table)
        self._size += table.nbytes

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def require_pyarrow(path: Path) -> None:
    """Check that parquet can be written.

    Args:
        path: what is to be written, for the message.

    Raises:
        LerobotError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise LerobotError(
            f"{path}: writing parquet needs pyarrow, which is not installed: "
            "`pip install '.[lerobot]'`"
        ) from error


def _table(columns: Mapping[str, NDArray[Any]]) -> Any:
    """A table of T rows; D numbers become a list of fixed size, one number is a plain column."""
    import pyarrow

    def column(values: NDArray[Any]) -> Any:
        numbers = pyarrow.array(values.ravel())
        width = values.shape[1] if values.ndim > 1 else 1
        if width == 1:
            return numbers
        kind = pyarrow.list_(pyarrow.field("element", numbers.type), width)
        return pyarrow.FixedSizeListArray.from_arrays(numbers, type=kind)

    return pyarrow.table({name: column(values) for name, values in columns.items()})


def _flat(statistics: Statistics) -> dict[str, list[float]]:
    return {
        f"stats/{column}/{name}": values.tolist()
        for column, found in statistics.items()
        for name, values in found.items()
    }


def _write_task(path: Path, task: str) -> None:
    """Write the table of tasks; LeRobot looks for their words in the index that pandas reads."""
    import pyarrow
    from pyarrow import parquet

    kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind,
         "metadata": None}
        for name, (kind, numpy_kind) in kinds.items()
    ]  # fmt: skip
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described}
    table = pyarrow.table({"task_index": [0], "task": [task]})
    parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)
