"""Turns decoded ROS messages of each type into the messages of a recording. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.recording import (
    JointSample,
    Mark,
    Message,
    ObjectPose,
    Plan,
    Segment,
    TrackingSample,
    Transform,
    Transforms,
)
from pipeline.recordings.rosbag.messages import (
    ATTACHED_OBJECT,
    COLLISION_OBJECT,
    CONTROLLER_STATE,
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    JOINT_TRAJECTORY,
    MARKS,
    PLANNING_SCENE,
    POSE_STAMPED,
    ROBOT_TRAJECTORY,
    TF_MESSAGES,
    TRACKING_FEEDBACK,
)
from pipeline.recordings.scene_messages import (
    parse_attached_object,
    parse_collision_object,
    parse_planning_scene,
)

Array = NDArray[np.float64]

# Words of a String mark; any other begins the next episode.
_WORDS: Mapping[str, str] = {
    "start": "start", "begin": "start", "stop": "end", "end": "end", "finish": "end",
}  # fmt: skip


def _plan(topic: str, index: int, time_ns: int, message: Any) -> Message:
    if hasattr(message, "trajectory"):
        segments = tuple(_robot_segment(part) for part in message.trajectory)
    elif hasattr(message, "joint_trajectory"):
        segments = (_robot_segment(message),)
    else:
        segments = (_segment(message, multi_dof=False),)
    return Plan(topic, index, time_ns, segments)


def _robot_segment(trajectory: Any) -> Segment:
    """One moveit_msgs/msg/RobotTrajectory."""
    multi_dof = bool(trajectory.multi_dof_joint_trajectory.points)
    return _segment(trajectory.joint_trajectory, multi_dof=multi_dof)


def _segment(trajectory: Any, *, multi_dof: bool) -> Segment:
    """One trajectory_msgs/msg/JointTrajectory.

    Raises:
        ValueError: a point has another number of positions than there are joints.
    """
    names, points = tuple(trajectory.joint_names), trajectory.points
    t = [point.time_from_start.sec + point.time_from_start.nanosec * 1e-9 for point in points]
    for index, point in enumerate(points):
        _require_length(point.positions, names, f"point {index} has {{}} positions")
    complete = bool(points) and all(len(point.velocities) == len(names) for point in points)
    velocity = _rows([point.velocities for point in points], len(names)) if complete else None
    position = _rows([point.positions for point in points], len(names))
    return Segment(names, np.array(t, np.float64), position, velocity, multi_dof)


def _rows(rows: list[Array], width: int) -> Array:
    return np.stack(rows) if rows else np.zeros((0, width))


def _require_length(values: Any, names: tuple[str, ...], what: str) -> None:
    if len(values) != len(names):
        raise ValueError(f"{what.format(len(values))} for {len(names)} joints")


def _joints(topic: str, index: int, time_ns: int, message: Any) -> Message:
    names = tuple(message.name)
    _require_length(message.position, names, "{} positions")
    velocity = message.velocity if len(message.velocity) == len(names) else None
    return JointSample(time_ns, names, message.position, velocity, _stamp(message), topic, index)


def _tracking(topic: str, index: int, time_ns: int, message: Any) -> Message:
    goal = ""
    if hasattr(message, "goal_id"):
        goal, message = bytes(message.goal_id.uuid).hex(), message.feedback
    names = tuple(message.joint_names)
    if hasattr(message, "reference"):
        # Some Humble controllers fill only the older pair of fields.
        desired, actual = message.reference, message.feedback
        if not len(desired.positions) and hasattr(message, "desired"):
            desired, actual = message.desired, message.actual
    else:
        desired, actual = message.desired, message.actual
    for point, what in ((desired, "desired"), (actual, "actual")):
        _require_length(point.positions, names, f"{{}} {what} positions")
    velocities = [
        point.velocities if len(point.velocities) == len(names) else None
        for point in (desired, actual)
    ]
    return TrackingSample(
        topic, index, time_ns, _stamp(message), goal, names,
        desired.positions, velocities[0], actual.positions, velocities[1],
    )  # fmt: skip


def _object(topic: str, index: int, time_ns: int, message: Any) -> Message:
    pose = message.pose
    return ObjectPose(
        time_ns, message.header.frame_id, _vector(pose.position), _quaternion(pose.orientation),
        stamp_ns=_stamp(message),
    )  # fmt: skip


def _transforms(topic: str, index: int, time_ns: int, message: Any) -> Message:
    transforms = tuple(
        Transform(
            entry.header.frame_id,
            entry.child_frame_id,
            _vector(entry.transform.translation),
            _quaternion(entry.transform.rotation),
            _stamp(entry),
        )
        for entry in message.transforms
    )
    return Transforms(time_ns, is_static(topic), transforms)


def is_static(topic: str) -> bool:
    """Whether the transforms of a topic hold for all times.

    Args:
        topic: for instance "/tf_static", in any namespace.
    """
    return topic.rstrip("/").endswith("_static")


def _mark(topic: str, index: int, time_ns: int, message: Any) -> Message:
    data = getattr(message, "data", None)
    if isinstance(data, bool | np.bool_):
        return Mark(time_ns, "start" if data else "end")
    word = _WORDS.get(str(data).strip().lower()) if isinstance(data, str) else None
    return Mark(time_ns, "start" if word == "start" else "end" if word == "end" else "next")


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _vector(message: Any) -> Array:
    return np.array([message.x, message.y, message.z], np.float64)


def _quaternion(message: Any) -> Array:
    return np.array([message.x, message.y, message.z, message.w], np.float64)


PARSERS: Mapping[str, Callable[[str, int, int, Any], Message]] = {
    DISPLAY_TRAJECTORY: _plan,
    ROBOT_TRAJECTORY: _plan,
    JOINT_TRAJECTORY: _plan,
    TRACKING_FEEDBACK: _tracking,
    CONTROLLER_STATE: _tracking,
    JOINT_STATE: _joints,
    POSE_STAMPED: _object,
    PLANNING_SCENE: parse_planning_scene,
    COLLISION_OBJECT: parse_collision_object,
    ATTACHED_OBJECT: parse_attached_object,
    **dict.fromkeys(TF_MESSAGES, _transforms),
    **dict.fromkeys(MARKS, _mark),
}
