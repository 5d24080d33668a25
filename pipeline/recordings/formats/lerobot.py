"""Reads LeRobot data sets of format v3: meta/info.json and data/**/*.parquet.

observation.state holds joint positions or the layout of params.yaml, action commanded positions,
and observation.environment_state the position and axis of the object or its pose. Reading parquet
needs pyarrow, the extra `lerobot` of the package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.layout import Layout
from pipeline.recordings.formats.diffusion_policy_zarr import (
    candidate_from_steps,
    object_pose_of,
    unpack_field,
)
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import Candidate, ObjectPose, RecordingError

Array = NDArray[np.float64]

_STATE, _ACTION, _OBJECT = "observation.state", "action", "observation.environment_state"
_VERSION = "v3"


class LerobotError(RecordingError):
    """A LeRobot data set cannot be read."""


def is_lerobot(path: Path) -> bool:
    """Whether a folder is a LeRobot data set."""
    return (path / "meta" / "info.json").is_file()


def read_lerobot(path: Path, layout: Layout, frame_id: str) -> Iterator[Candidate]:
    """Read the episodes of a data set, in order, with one of its files in memory at a time.

    Args:
        path: the data set's folder.
        layout: joints, and what observation.state means if it is not joint positions.
        frame_id: frame of the object's pose.

    Raises:
        LerobotError: pyarrow is not installed, the data set has another version or is damaged, or
            its numbers fit neither the joints nor the layout.
    """
    names = _joint_names(path)
    files = sorted((path / "data").rglob("*.parquet"))
    if not files:
        raise LerobotError(f"{path}: holds no data/**/*.parquet; copy the data set again")
    pending: dict[str, Array] | None = None
    for file in files:
        columns = _columns(file)
        if pending is not None:
            columns = {
                key: np.concatenate([pending[key], values])
                for key, values in columns.items() if key in pending
            }  # fmt: skip
        index = columns["episode_index"]
        cuts = np.flatnonzero(np.diff(index)) + 1
        # An episode may continue in the next file.
        parts = [{key: values[start:end] for key, values in columns.items()}
                 for start, end in zip([0, *cuts], [*cuts, len(index)], strict=True)]  # fmt: skip
        for part in parts[:-1]:
            yield _candidate(path, part, names, layout, frame_id)
        pending = parts[-1]
    if pending is not None and len(pending["episode_index"]):
        yield _candidate(path, pending, names, layout, frame_id)


def _joint_names(path: Path) -> tuple[str, ...]:
    """Names of the numbers of observation.state; empty if the data set has none."""
    try:
        info = json.loads((path / "meta" / "info.json").read_text())
        version, features = str(info["codebase_version"]), info["features"]
        names = features.get(_STATE, {}).get("names")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LerobotError(f"{path}/meta/info.json: not readable ({error})") from error
    if not version.startswith(_VERSION):
        raise LerobotError(
            f"{path}: has format {version}, expected {_VERSION}: convert it with LeRobot's own "
            "convert_dataset_v21_to_v30"
        )
    if isinstance(names, dict):  # {"motors": [...]}
        names = next(iter(names.values()), None)
    return tuple(str(name).removesuffix(".pos") for name in names or ())


def _columns(file: Path) -> dict[str, Array]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise LerobotError(
            f"{file}: reading parquet needs pyarrow, which is not installed: `pip install pyarrow`"
        ) from error
    wanted = (_STATE, _ACTION, _OBJECT, "timestamp", "episode_index")
    try:
        with parquet.ParquetFile(file) as opened:
            held = [name for name in wanted if name in opened.schema_arrow.names]
            table = opened.read(columns=held)
        columns: dict[str, Array] = {
            name: _array(table.column(name).to_pylist(), name) for name in held
        }
    except (ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise LerobotError(f"{file}: not readable as parquet of numbers ({error})") from error
    missing = [name for name in wanted if name not in columns and name != _OBJECT]
    if missing:
        raise LerobotError(f"{file}: lacks {', '.join(missing)}; it holds {', '.join(columns)}")
    return columns


def _array(values: list[Any], name: str) -> Array:
    return np.array(values, np.int64 if name == "episode_index" else np.float64)


def _candidate(
    path: Path, part: dict[str, Array], names: tuple[str, ...], layout: Layout, frame_id: str
) -> Candidate:
    state, action, size = part[_STATE], part[_ACTION], len(layout.joints)
    joints, velocity, pose = layout.joints, None, _object(part, frame_id)
    if state.ndim != 2 or action.ndim != 2 or action.shape[1] < size:
        raise LerobotError(
            f"{path}: state {state.shape}, action {action.shape}, expected {size} joints"
        )
    if len(names) == state.shape[1] and find_joints(names, joints)[0] is not None:
        places = find_joints(names, joints)[0] or []
        joints = tuple(names[place] for place in places)
        state = state[:, places]
        action = action[:, places] if action.shape[1] == len(names) else action
    elif state.shape[1] == layout.state_dim:
        pose = pose or object_pose_of(layout, state, frame_id)
        if layout.has("joint_vel"):
            velocity = unpack_field(layout, state, "joint_vel")
        state = unpack_field(layout, state, "joint_pos")
    if state.shape[1] != size or action.shape[1] != size:
        raise LerobotError(
            f"{path}: {_STATE} has {part[_STATE].shape[1]} numbers a step ({', '.join(names)}), "
            f"expected {size} joints ({', '.join(layout.joints)}) or {layout.describe()}"
        )
    episode = int(part["episode_index"][0])
    return candidate_from_steps(
        episode, joints, part["timestamp"].ravel(), state, velocity, action, pose, ()
    )


def _object(part: dict[str, Array], frame_id: str) -> ObjectPose | None:
    values = part.get(_OBJECT)
    if values is None or values.ndim != 2 or values.shape[1] not in {6, 7}:
        return None
    return ObjectPose(0, frame_id, values[0, :3], values[0, 3:])
