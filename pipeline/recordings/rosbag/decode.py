"""Turns the bytes of one topic's messages into events, by whichever definition fits.

What cannot be decoded goes on as Unreadable. Knows message types; knows no files.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from backports import zstd
from numpy.typing import NDArray
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.serde import SerdeError
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from pipeline.recordings.recording import (
    Event,
    JointSample,
    Mark,
    ObjectPose,
    Plan,
    Segment,
    TrackingSample,
    Transform,
    Transforms,
    Unreadable,
)
from pipeline.recordings.rosbag.cdr import JointStateReader, knows, read_pose
from pipeline.recordings.rosbag.cdr_trajectory import PlanReader
from pipeline.recordings.rosbag.definitions import bundled_stores, own_store
from pipeline.recordings.rosbag.messages import (
    CONTROLLER_STATE,
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    JOINT_TRAJECTORY,
    MARKS,
    POSE_STAMPED,
    ROBOT_TRAJECTORY,
    TF_MESSAGES,
    TRACKING_FEEDBACK,
)

Array = NDArray[np.float64]

_STAMP = struct.Struct("<iI")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Words of a String mark; any other begins the next episode.
_WORDS: Mapping[str, str] = {
    "start": "start", "begin": "start", "stop": "end", "end": "end", "finish": "end",
}  # fmt: skip
_FAULTS = (
    SerdeError, TypesysError, ValueError, KeyError, AttributeError, IndexError, TypeError,
    OverflowError, MemoryError, RecursionError, AssertionError, zstd.ZstdError,
)  # fmt: skip


class Decoder:
    """Decodes one topic's messages by the definition that fits."""

    def __init__(
        self,
        topic: str,
        msgtype: str,
        definition: MessageDefinition | None,
        msg_path: Path | None = None,
        *,
        ros1: bool = False,
    ) -> None:
        """Gather the definitions to try: the recording's own, the user's, the bundled ones.

        Args:
            topic: its name.
            msgtype: for instance "sensor_msgs/msg/JointState".
            definition: as the recording carries it, or None.
            msg_path: folder of the user's own .msg files.
            ros1: whether the bytes are those of ROS 1.

        Raises:
            DefinitionError: a definition of the user's cannot be read.
        """
        self._topic, self._msgtype, self._ros1 = topic, msgtype, ros1
        self._count = 0
        own = None if msg_path is None else own_store(msg_path, msgtype)
        embedded = None if definition is None else embedded_store(definition, msgtype)
        bundled = () if ros1 else bundled_stores(msgtype)
        self._stores = [store for store in (embedded, own, *bundled) if store is not None]
        self._quick = not ros1 and bool(self._stores) and knows(self._stores[0], msgtype)
        self._read_joint_state = JointStateReader()
        self._read_plan = PlanReader(msgtype)
        self._make = _MAKERS[msgtype]

    def __call__(self, time_ns: int, raw: bytes) -> Event:
        """The event that a message stands for; Unreadable where nothing decodes it.

        Args:
            time_ns: log time.
            raw: the message as it was recorded; a message compressed by itself is unpacked.
        """
        index, self._count = self._count, self._count + 1
        reasons = []
        if raw[:4] == _ZSTD_MAGIC:
            try:
                raw = zstd.decompress(raw)
            except _FAULTS as error:
                return Unreadable(self._topic, index, "DECODE_ERROR", f"compressed: {error}")
        quick = self._shortcut(index, time_ns, raw) if self._quick else None
        if quick is not None:
            return quick
        for store in list(self._stores):
            try:
                read = store.deserialize_ros1 if self._ros1 else store.deserialize_cdr
                event = self._make(self._topic, index, time_ns, read(raw, self._msgtype))
            except _FAULTS as error:
                reasons.append(str(error) or type(error).__name__)
                continue
            # All messages of a topic have one form: the one that fitted is tried first from now on.
            self._stores.remove(store)
            self._stores.insert(0, store)
            return event
        why = "; ".join(dict.fromkeys(reasons)) or "no definition of its type: see ingest.msg_path"
        return Unreadable(self._topic, index, "DECODE_ERROR", why)

    def _shortcut(self, index: int, time_ns: int, raw: bytes) -> Event | None:
        if self._msgtype == JOINT_STATE:
            joints = self._read_joint_state(raw)
            if joints is None:
                return None
            seconds, nanoseconds = _STAMP.unpack_from(raw, 4)
            stamp = seconds * 10**9 + nanoseconds
            return JointSample(time_ns, *joints, stamp, self._topic, index)
        if self._msgtype == POSE_STAMPED:
            pose = read_pose(raw)
            return None if pose is None else ObjectPose(time_ns, *pose)
        segments = self._read_plan(raw)
        return None if segments is None else Plan(self._topic, index, time_ns, segments)


@lru_cache(maxsize=64)
def embedded_store(definition: MessageDefinition, msgtype: str) -> Typestore | None:
    """Types as a recording defines them; None where it does not or nobody can parse them.

    Args:
        definition: format and text.
        msgtype: the type that it defines.
    """
    if definition.format == MessageDefinitionFormat.NONE or not definition.data:
        return None
    store = get_typestore(Stores.EMPTY)
    try:
        if definition.format == MessageDefinitionFormat.IDL:
            types: Mapping[str, Any] = get_types_from_idl(definition.data)
        else:
            types = get_types_from_msg(definition.data, msgtype)
            if msgtype not in types:  # an action's message, named …/action/…
                types = {**types, msgtype: next(iter(types.values()))}
        store.register(dict(types))
    except (*_FAULTS, SyntaxError):
        return None
    return store if msgtype in store.fielddefs else None


def _plan(topic: str, index: int, time_ns: int, message: Any) -> Event:
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


def _joints(topic: str, index: int, time_ns: int, message: Any) -> Event:
    names = tuple(message.name)
    _require_length(message.position, names, "{} positions")
    velocity = message.velocity if len(message.velocity) == len(names) else None
    return JointSample(time_ns, names, message.position, velocity, _stamp(message), topic, index)


def _tracking(topic: str, index: int, time_ns: int, message: Any) -> Event:
    goal = ""
    if hasattr(message, "goal_id"):
        goal, message = bytes(message.goal_id.uuid).hex(), message.feedback
    names = tuple(message.joint_names)
    if hasattr(message, "reference"):
        # Some Humble controllers fill only the older pair.
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


def _object(topic: str, index: int, time_ns: int, message: Any) -> Event:
    pose = message.pose
    return ObjectPose(
        time_ns, message.header.frame_id, _vector(pose.position), _quaternion(pose.orientation)
    )


def _transforms(topic: str, index: int, time_ns: int, message: Any) -> Event:
    transforms = tuple(
        Transform(
            entry.header.frame_id,
            entry.child_frame_id,
            _vector(entry.transform.translation),
            _quaternion(entry.transform.rotation),
        )
        for entry in message.transforms
    )
    return Transforms(time_ns, topic.rstrip("/").endswith("_static"), transforms)


def _mark(topic: str, index: int, time_ns: int, message: Any) -> Event:
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


_MAKERS: Mapping[str, Callable[[str, int, int, Any], Event]] = {
    DISPLAY_TRAJECTORY: _plan,
    ROBOT_TRAJECTORY: _plan,
    JOINT_TRAJECTORY: _plan,
    TRACKING_FEEDBACK: _tracking,
    CONTROLLER_STATE: _tracking,
    JOINT_STATE: _joints,
    POSE_STAMPED: _object,
    **dict.fromkeys(TF_MESSAGES, _transforms),
    **dict.fromkeys(MARKS, _mark),
}
