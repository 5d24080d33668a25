"""Reads LeRobot data sets of format v3: meta/info.json and data/**/*.parquet.

observation.state holds joint positions or the layout of params.yaml, action commanded positions,
and observation.environment_state the position and axis of the object or its pose. A data set that
`convert` wrote also has observation.velocity and observation.obstacles. Reading parquet needs
pyarrow, the extra `lerobot` of the package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS, ObstacleError, parse, used
from pipeline.recordings.formats.diffusion_policy_zarr import (
    candidate_from_steps,
    object_pose_of,
    unpack_field,
)
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import Candidate, ObjectPose, Obstacles, RecordingError

Array = NDArray[np.float64]

_STATE, _ACTION, _OBJECT = "observation.state", "action", "observation.environment_state"
_VELOCITY, _OBSTACLES = "observation.velocity", "observation.obstacles"
_REQUIRED = (_STATE, _ACTION, "timestamp", "episode_index")
_OPTIONAL = (_OBJECT, _VELOCITY, _OBSTACLES, "frame_index")
_VECTORS = (_STATE, _ACTION, _OBJECT, _VELOCITY, _OBSTACLES)
_VERSION = "v3"
_OBSTACLE = (
    "x", "y", "z", "qx", "qy", "qz", "qw", "half_x", "half_y", "half_z", "disc_radius",
    "ball_radius",
)  # fmt: skip


class LerobotError(RecordingError):
    """A LeRobot data set cannot be read."""


@dataclass(frozen=True)
class _Info:
    """What meta/info.json says."""

    fps: float | None
    """Frames per second; None if it does not say."""
    positions: tuple[str, ...]
    """Joints of observation.state; empty if the data set names none."""
    velocities: tuple[str, ...]
    """Joints of observation.velocity; likewise."""
    has_obstacles: bool
    """Whether the numbers of observation.obstacles are named as those of `convert` are."""


def obstacle_names(slots: int) -> tuple[str, ...]:
    """Names of the numbers of observation.obstacles.

    Args:
        slots: number of obstacles, K.

    Returns:
        12 K names, obstacle by obstacle.
    """
    return tuple(
        f"obstacle_{number}.{name}" for number in range(1, slots + 1) for name in _OBSTACLE
    )


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
    info = _read_info(path)
    files = sorted((path / "data").rglob("*.parquet"))
    if not files:
        raise LerobotError(f"{path}: holds no data/**/*.parquet; copy the data set again")
    pending: dict[str, Array] | None = None
    for file in files:
        columns = _columns(file)
        if not len(columns["episode_index"]):
            continue
        if pending is not None:
            columns = _joined(file, pending, columns)
        index = columns["episode_index"]
        cuts = np.flatnonzero(np.diff(index)) + 1
        # An episode may continue in the next file.
        parts = [{key: values[start:end] for key, values in columns.items()}
                 for start, end in zip([0, *cuts], [*cuts, len(index)], strict=True)]  # fmt: skip
        for part in parts[:-1]:
            yield _candidate(path, part, info, layout, frame_id)
        pending = parts[-1]
    if pending is not None and len(pending["episode_index"]):
        yield _candidate(path, pending, info, layout, frame_id)


def _joined(file: Path, first: dict[str, Array], then: dict[str, Array]) -> dict[str, Array]:
    shared = [key for key in then if key in first]
    for key in shared:
        if first[key].shape[1:] != then[key].shape[1:]:
            raise LerobotError(
                f"{file}: {key} has rows of shape {then[key].shape[1:]}, expected "
                f"{first[key].shape[1:]} as in the file before"
            )
    return {key: np.concatenate([first[key], then[key]]) for key in shared}


def _read_info(path: Path) -> _Info:
    try:
        info = json.loads((path / "meta" / "info.json").read_text())
        version, features, fps = str(info["codebase_version"]), info["features"], info.get("fps")
        names = [features.get(key, {}).get("names") for key in (_STATE, _VELOCITY, _OBSTACLES)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LerobotError(f"{path}/meta/info.json: not readable ({error})") from error
    if not version.startswith(_VERSION):
        raise LerobotError(
            f"{path}: has format {version}, expected {_VERSION}: convert it with LeRobot's own "
            "convert_dataset_v21_to_v30"
        )
    known = fps if isinstance(fps, int | float) and fps > 0 else None
    obstacles = _names(names[2])
    return _Info(
        known, _joints(names[0], ".pos"), _joints(names[1], ".vel"),
        bool(obstacles) and obstacles == obstacle_names(len(obstacles) // COLUMNS),
    )  # fmt: skip


def _names(names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):  # {"motors": [...]}
        names = next(iter(names.values()), None)
    return tuple(str(name) for name in names or ())


def _joints(names: Any, suffix: str) -> tuple[str, ...]:
    return tuple(name.removesuffix(suffix) for name in _names(names))


def _columns(file: Path) -> dict[str, Array]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise LerobotError(
            f"{file}: reading parquet needs pyarrow, which is not installed: `pip install pyarrow`"
        ) from error
    try:
        with parquet.ParquetFile(file) as opened:
            known = opened.schema_arrow.names
            held = [name for name in (*_REQUIRED, *_OPTIONAL) if name in known]
            table = opened.read(columns=held)
        columns: dict[str, Array] = {name: _array(table.column(name), name) for name in held}
    except (ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise LerobotError(f"{file}: not readable as parquet of numbers ({error})") from error
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise LerobotError(f"{file}: lacks {', '.join(missing)}; it holds {', '.join(columns)}")
    return columns


def _array(column: Any, name: str) -> Array:
    """A column in double precision, or as integers. A list of one number may be a plain number."""
    from pyarrow import types

    values = column.combine_chunks()
    is_list = types.is_list(values.type) or types.is_fixed_size_list(values.type)
    if is_list and not values.null_count and not types.is_nested(values.type.value_type):
        if len(set(values.value_lengths().to_pylist())) > 1:
            raise ValueError(f"{name}: rows differ in length")
        flat: Array = values.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        return flat.reshape(len(values), len(flat) // max(len(values), 1))
    kind = np.int64 if name in {"episode_index", "frame_index"} else np.float64
    numbers: Array = np.array(column.to_pylist(), kind)
    return numbers[:, None] if name in _VECTORS and numbers.ndim == 1 else numbers


def _candidate(
    path: Path, part: dict[str, Array], info: _Info, layout: Layout, frame_id: str
) -> Candidate:
    state, action, size = part[_STATE], part[_ACTION], len(layout.joints)
    joints, velocity, pose = layout.joints, None, _object(part, frame_id)
    if state.ndim != 2 or action.ndim != 2 or action.shape[1] < size:
        raise LerobotError(
            f"{path}: state {state.shape}, action {action.shape}, expected {size} joints"
        )
    names = info.positions
    places = find_joints(names, joints)[0] if len(names) == state.shape[1] else None
    if places is not None:
        joints = tuple(names[place] for place in places)
        velocity = _velocity(part, info, joints)
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
    found = candidate_from_steps(
        episode, joints, _times(part, info.fps), state, velocity, action, pose, ()
    )
    return replace(found, obstacles=_obstacles(path, part, info))


def _times(part: dict[str, Array], fps: float | None) -> Array:
    """Times of the frames, s.

    LeRobot rounds them to single precision, half a microsecond after ten seconds. Where they are
    those of the frame rate, they are computed again.
    """
    rounded = part["timestamp"].ravel()
    if fps is None or "frame_index" not in part:
        return rounded
    exact: Array = part["frame_index"].ravel() / fps
    same = np.array_equal(exact.astype(np.float32), rounded.astype(np.float32))
    return exact if same else rounded


def _velocity(part: dict[str, Array], info: _Info, joints: tuple[str, ...]) -> Array | None:
    values = part.get(_VELOCITY)
    if values is None or values.shape[1:] != (len(info.velocities),):
        return None
    places = find_joints(info.velocities, joints)[0]
    return None if places is None else values[:, places]


def _obstacles(path: Path, part: dict[str, Array], info: _Info) -> Obstacles | None:
    """Obstacles of the first frame; unused rows fill up the column."""
    values = part.get(_OBSTACLES)
    if values is None or not info.has_obstacles:
        return None
    rows = used(values[0].reshape(-1, COLUMNS))
    try:
        parse(rows)
    except ObstacleError as error:
        raise LerobotError(f"{path}: {_OBSTACLES}: {error}") from error
    return Obstacles(0, rows)


def _object(part: dict[str, Array], frame_id: str) -> ObjectPose | None:
    values = part.get(_OBJECT)
    if values is None or values.ndim != 2 or values.shape[1] not in {6, 7}:
        return None
    return ObjectPose(0, frame_id, values[0, :3], values[0, 3:])
