"""Reads trajectories in JSON or YAML, as written by `ros2 topic echo` and by scripts.

A file holds one message, a list of messages, or YAML documents: DisplayTrajectory, RobotTrajectory
or JointTrajectory. <object>_position and <object>_axis beside a trajectory give the object's pose.
Reads plain data only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.recordings.recording import (
    Candidate,
    ObjectPose,
    Plan,
    RecordingError,
    Segment,
    Unreadable,
)

Array = NDArray[np.float64]

SUFFIXES = (".json", ".yaml", ".yml")
_EXPECTED = "a JointTrajectory with joint_names and points, or a message that holds one"
# The names of the joints stand at the start of a trajectory.
_HEAD_BYTES = 1 << 20


class JsonYamlError(RecordingError):
    """A JSON or YAML file cannot be read as trajectories."""


def may_hold_trajectory(path: Path) -> bool:
    """Whether a file may hold a trajectory: by its suffix and the word joint_names inside.

    Args:
        path: the file.
    """
    if path.suffix not in SUFFIXES:
        return False
    with path.open("rb") as stream:
        return b"joint_names" in stream.read(_HEAD_BYTES)


def read_json_yaml(path: Path, object_name: str, frame_id: str) -> Iterator[Candidate | Unreadable]:
    """Read the trajectories of a file, in order.

    Args:
        path: the file.
        object_name: prefix of the object's position and axis, for instance "pen".
        frame_id: frame of the object's pose.

    Raises:
        JsonYamlError: the file is not JSON or YAML, or holds no trajectory.
    """
    messages = [each for document in _documents(path) for each in _messages(document)]
    if not messages:
        raise JsonYamlError(f"{path}: holds no trajectory; expected {_EXPECTED}")
    for index, message in enumerate(messages):
        try:
            parts = _trajectories(message)
            plan = Plan("", index, 0, tuple(_segment(part) for part in parts))
            yield Candidate(plan, _object(message, object_name, frame_id), None)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            yield Unreadable("", index, "DECODE_ERROR", why)


def _documents(path: Path) -> list[Any]:
    try:
        text = path.read_text()
        if path.suffix == ".json":
            return [json.loads(text)]
        # A short file of aliases can expand to any size.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.CSafeLoader)):
            raise JsonYamlError("has YAML aliases, expected plain data")
        # `ros2 topic echo` ends with a separator, which nothing follows.
        return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each is not None]
    except JsonYamlError as error:
        raise JsonYamlError(f"{path}: {error}") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError, TypeError, KeyError) as error:
        lines = " ".join(str(error).split())
        raise JsonYamlError(f"{path}: not readable as {path.suffix[1:]} ({lines})") from error


def _messages(document: Any) -> list[Mapping[str, Any]]:
    entries = document if isinstance(document, list) else [document]
    return [entry for entry in entries if isinstance(entry, dict) and _trajectories(entry)]


def _trajectories(message: Mapping[str, Any]) -> list[Any]:
    """Find the JointTrajectory messages in a message."""
    if "points" in message or "joint_names" in message:
        return [message]
    inner = message.get("joint_trajectory")
    if isinstance(inner, dict):
        multi = message.get("multi_dof_joint_trajectory")
        points = multi.get("points") if isinstance(multi, dict) else None
        return [{**inner, "multi_dof": bool(points)}]
    nested = message.get("trajectory")
    parts = nested if isinstance(nested, list) else [nested]
    return [each for part in parts if isinstance(part, dict) for each in _trajectories(part)]


def _segment(trajectory: Mapping[str, Any]) -> Segment:
    names = tuple(str(name) for name in trajectory["joint_names"])
    points = trajectory["points"]
    if "..." in names or "..." in points:
        raise ValueError("is truncated (`...`): record it with `ros2 topic echo --full-length`")
    rows = [_row(point["positions"], names) for point in points]
    position = np.stack(rows) if rows else np.zeros((0, len(names)))
    speeds = [point.get("velocities") or [] for point in points]
    velocity = None
    if points and all(len(speed) == len(names) for speed in speeds):
        velocity = np.stack([_row(speed, names) for speed in speeds])
    t = np.array([_seconds(point["time_from_start"]) for point in points], np.float64)
    return Segment(names, t, position, velocity, bool(trajectory.get("multi_dof", False)))


def _row(values: Any, names: tuple[str, ...]) -> Array:
    row = np.asarray(values, np.float64)
    if row.shape != (len(names),):
        raise ValueError(f"a point has {row.size} positions for {len(names)} joints")
    return row


def _seconds(duration: Any) -> float:
    """A duration with the field names of ROS 2 or ROS 1, or as a number. Returns s."""
    if not isinstance(duration, dict):
        return float(duration)
    seconds = duration.get("sec", duration.get("secs"))
    nanoseconds = duration.get("nanosec", duration.get("nsecs", 0))
    return float(seconds) + float(nanoseconds) * 1e-9  # type: ignore[arg-type]


def _object(message: Mapping[str, Any], name: str, frame_id: str) -> ObjectPose | None:
    position, axis = message.get(f"{name}_position"), message.get(f"{name}_axis")
    if position is None or axis is None:
        return None
    pose = ObjectPose(0, frame_id, np.asarray(position, np.float64), np.asarray(axis, np.float64))
    if pose.position.shape != (3,) or pose.orientation.shape != (3,):
        raise ValueError(f"{name}_position and {name}_axis need three numbers each")
    return pose
