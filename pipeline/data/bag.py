"""Reads rosbag2 recordings as a stream of events, one message in memory at a time.

Owns topics, message types and decoding. Judges nothing: what a message says goes on as it is, and
what cannot be decoded goes on as Unreadable.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from pipeline.data.cdr import JointStateReader, knows, read_plan
from pipeline.data.messages import DISPLAY_TRAJECTORY, JOINT_STATE, POSE_STAMPED, typestore
from pipeline.data.recording import Event, JointSample, ObjectPose, Plan, Segment, Unreadable
from pipeline.errors import PipelineError

STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}


class BagError(PipelineError):
    """A recording cannot be read."""

    def __init__(self, message: str, code: str = "BAG_UNREADABLE") -> None:
        """Say what happened.

        Args:
            message: file, value, what was expected, what to do.
            code: BAG_UNREADABLE, BAG_TRUNCATED or BAG_EMPTY.
        """
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Topics:
    """Last components of the names of the topics to read; any namespace may stand before them."""

    plan: str
    joint: str
    object_pose: str

    def role(self, topic: str) -> str | None:
        """The message type that a topic ought to carry, None for a topic of no interest."""
        for name, msgtype in (
            (self.plan, DISPLAY_TRAJECTORY),
            (self.joint, JOINT_STATE),
            (self.object_pose, POSE_STAMPED),
        ):
            if f"/{topic.strip('/')}".endswith(f"/{name.strip('/')}"):
                return msgtype
        return None


@dataclass(frozen=True)
class TopicCount:
    """One topic of a recording."""

    topic: str
    msgtype: str
    messages: int


@dataclass(frozen=True)
class BagSummary:
    """What a recording holds."""

    storage: str
    duration_s: float
    topics: tuple[TopicCount, ...]


def summarize_bag(path: Path) -> BagSummary:
    """Topics, types and numbers of messages.

    Args:
        path: a rosbag2 folder, or a bare .mcap or .db3 file.

    Raises:
        BagError: the recording is missing, cut off, or cannot be read.
    """
    with _open(path) as reader:
        topics = tuple(
            TopicCount(c.topic, c.msgtype, c.msgcount)
            for c in sorted(reader.connections, key=lambda c: (c.topic, c.msgtype))
        )
        return BagSummary(storage_of(path), reader.duration * 1e-9, topics)


def storage_of(path: Path) -> str:
    """How a recording keeps its messages: mcap or sqlite3.

    Args:
        path: a rosbag2 folder, or a bare .mcap or .db3 file.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        for suffix in file.suffixes:
            if suffix in STORAGES:
                return STORAGES[suffix]
    return "unknown"


def read_events(path: Path, topics: Topics) -> Iterator[Event]:
    """Plans, joint states and object poses in order of log time.

    Args:
        path: a rosbag2 folder, or a bare .mcap or .db3 file.
        topics: which topics say what.

    Raises:
        BagError: the recording is missing, cut off, cannot be read, or holds no plan's topic;
            events before the place where it breaks are passed on first.
    """
    with _open(path) as reader:
        wanted = [c for c in reader.connections if topics.role(c.topic) is not None]
        readable = []
        for connection in wanted:
            expected = topics.role(connection.topic)
            if connection.msgtype == expected:
                readable.append(connection)
            else:
                value = f"{connection.topic} carries {connection.msgtype}, expected {expected}"
                yield Unreadable(connection.topic, None, "TYPE_UNKNOWN", value)
        if not any(c.msgtype == DISPLAY_TRAJECTORY and c.msgcount for c in readable):
            held = ", ".join(sorted(f"{c.topic} ({c.msgtype})" for c in reader.connections))
            raise BagError(
                f"{path}: holds no message of {DISPLAY_TRAJECTORY} on a topic "
                f"…/{topics.plan.strip('/')}; it holds {held or 'nothing'}: name the topic in "
                "ingest.plan_topic",
                "BAG_EMPTY",
            )
        decoders = {connection.id: _Decoder(connection) for connection in readable}
        for connection, time_ns, raw in _messages(path, reader, readable):
            yield decoders[connection.id](time_ns, raw)


@contextmanager
def _open(path: Path) -> Iterator[Reader]:
    """An open reader."""
    if not path.exists():
        raise BagError(f"{path}: no such recording; expected a rosbag2 folder, .mcap or .db3")
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # rosbags lets faults of the storage through as they are
        raise _fault(path, error) from error
    try:
        yield reader
    finally:
        reader.close()


def _messages(
    path: Path, reader: Reader, connections: list[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    """Messages in order of log time, up to the place where the recording breaks."""
    stream = reader.messages(connections)
    while True:
        try:
            message = next(stream)
        except StopIteration:
            return
        except Exception as error:  # rosbags lets faults of storage and decompression through
            raise _fault(path, error) from error
        yield message


def _fault(path: Path, error: Exception) -> BagError:
    """The fault of a recording, with its name and kind."""
    signs = (
        "end magic", "truncated", "malformed", "not a database", "missing tables", "empty", "ord()",
    )  # fmt: skip
    if isinstance(error, EOFError | struct.error) or any(
        sign in str(error).lower() for sign in signs
    ):
        return BagError(
            f"{path}: is cut off or damaged ({error}); expected a whole rosbag2 recording: "
            "try `mcap recover` or `ros2 bag reindex`",
            "BAG_TRUNCATED",
        )
    return BagError(f"{path}: cannot be read ({error}); expected a rosbag2 recording")


class _Decoder:
    """Decodes one connection's messages by the definition that fits."""

    def __init__(self, connection: Connection) -> None:
        self._topic = connection.topic
        self._msgtype = connection.msgtype
        self._count = 0
        embedded = _embedded_types(connection)
        # A wrong definition fails loudly, so trying one after the other is safe.
        self._stores = [typestore()] if embedded is None else [embedded, typestore()]
        self._quick = knows(self._stores[0], self._msgtype)
        self._read_joint_state = JointStateReader()

    def __call__(self, time_ns: int, raw: bytes) -> Event:
        """The event that a message stands for; Unreadable where nothing decodes it."""
        index, self._count = self._count, self._count + 1
        quick = self._shortcut(index, time_ns, raw) if self._quick else None
        if quick is not None:
            return quick
        reasons = []
        for store in self._stores:
            try:
                message = store.deserialize_cdr(raw, self._msgtype)
                return self._event(index, time_ns, message)
            except (SerdeError, ValueError, KeyError, AttributeError, IndexError) as error:
                reasons.append(str(error))
        return Unreadable(self._topic, index, "DECODE_ERROR", "; ".join(dict.fromkeys(reasons)))

    def _shortcut(self, index: int, time_ns: int, raw: bytes) -> Event | None:
        if self._msgtype == JOINT_STATE:
            joints = self._read_joint_state(raw)
            return None if joints is None else JointSample(time_ns, *joints)
        segments = read_plan(raw)
        return None if segments is None else Plan(self._topic, index, time_ns, segments)

    def _event(self, index: int, time_ns: int, message: Any) -> Event:
        if self._msgtype == DISPLAY_TRAJECTORY:
            segments = tuple(_segment(trajectory) for trajectory in message.trajectory)
            return Plan(self._topic, index, time_ns, segments)
        if self._msgtype == JOINT_STATE:
            names = tuple(message.name)
            if len(message.position) != len(names):
                raise ValueError(f"{len(message.position)} positions for {len(names)} joints")
            velocity = message.velocity if len(message.velocity) == len(names) else None
            return JointSample(time_ns, names, message.position, velocity)
        position, orientation = message.pose.position, message.pose.orientation
        return ObjectPose(
            time_ns,
            message.header.frame_id,
            np.array([position.x, position.y, position.z]),
            np.array([orientation.x, orientation.y, orientation.z, orientation.w]),
        )


def _embedded_types(connection: Connection) -> Typestore | None:
    """Types as the recording defines them, None where it does not or nobody can parse them."""
    definition = connection.msgdef
    if definition.format == MessageDefinitionFormat.NONE or not definition.data:
        return None
    store = get_typestore(Stores.EMPTY)
    try:
        if definition.format == MessageDefinitionFormat.IDL:
            types: Mapping[str, Any] = get_types_from_idl(definition.data)
        else:
            types = get_types_from_msg(definition.data, connection.msgtype)
        store.register(dict(types))
    except (TypesysError, SyntaxError, ValueError, KeyError):
        return None
    return store


def _segment(trajectory: Any) -> Segment:
    """One moveit_msgs/msg/RobotTrajectory.

    Raises:
        ValueError: a point has another number of positions than there are joints.
    """
    joint = trajectory.joint_trajectory
    names, points = tuple(joint.joint_names), joint.points
    t = np.array(
        [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in points], np.float64
    )
    for index, point in enumerate(points):
        if len(point.positions) != len(names):
            raise ValueError(
                f"point {index} has {len(point.positions)} positions for {len(names)} joints"
            )
    complete = bool(points) and all(len(point.velocities) == len(names) for point in points)
    velocity = _rows([point.velocities for point in points], len(names)) if complete else None
    return Segment(
        names,
        t,
        _rows([point.positions for point in points], len(names)),
        velocity,
        multi_dof=bool(trajectory.multi_dof_joint_trajectory.points),
    )


def _rows(rows: list[NDArray[np.float64]], width: int) -> NDArray[np.float64]:
    return np.stack(rows) if rows else np.zeros((0, width))
