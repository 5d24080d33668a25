"""Reads joint states and poses directly from CDR, several times faster than a general decoder.

Returns None for bytes that it does not expect; the general decoder then reads them. The format is
OMG CDR, little endian, as in DDS: alignment counts from the end of the four bytes of encapsulation;
a string is its length, including a closing zero, and its bytes; a sequence is its length and its
elements, and an empty one has no padding.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys.store import Typestore

from pipeline.recordings.rosbag.messages import (
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    JOINT_TRAJECTORY,
    POSE_STAMPED,
    ROBOT_TRAJECTORY,
    typestore,
)

Array = NDArray[np.float64]

LITTLE_ENDIAN = b"\x00\x01"
UINT32 = struct.Struct("<I")
STAMP = struct.Struct("<iI")
_POSE = struct.Struct("<7d")
_POINTS = (
    JOINT_TRAJECTORY,
    "trajectory_msgs/msg/JointTrajectoryPoint",
    "std_msgs/msg/Header",
    "builtin_interfaces/msg/Duration",
)
_SEGMENTS = (ROBOT_TRAJECTORY, *_POINTS, "trajectory_msgs/msg/MultiDOFJointTrajectory")
# Types that are read directly, each with the types of its fields.
_KNOWN = {
    JOINT_STATE: (JOINT_STATE, "std_msgs/msg/Header"),
    DISPLAY_TRAJECTORY: (DISPLAY_TRAJECTORY, *_SEGMENTS),
    ROBOT_TRAJECTORY: _SEGMENTS,
    JOINT_TRAJECTORY: _POINTS,
    POSE_STAMPED: (
        POSE_STAMPED,
        "std_msgs/msg/Header",
        "geometry_msgs/msg/Pose",
        "geometry_msgs/msg/Point",
        "geometry_msgs/msg/Quaternion",
    ),
}


def has_known_definition(store: Typestore, msgtype: str) -> bool:
    """Whether a recording's definition of a type is the one that the direct readers assume.

    Args:
        store: types as the recording defines them.
        msgtype: its name.
    """
    if msgtype not in _KNOWN:
        return False
    ours, theirs = typestore().fielddefs, store.fielddefs
    return all(
        name in theirs and list(theirs[name][1]) == list(ours[name][1]) for name in _KNOWN[msgtype]
    )


class Cursor:
    """A position in a message that advances as fields are read."""

    def __init__(self, raw: bytes) -> None:
        """Start after the encapsulation.

        Args:
            raw: the message in CDR, little endian.
        """
        self._raw = raw
        self.at = 4

    def uint32(self) -> int:
        """Read a number.

        Raises:
            struct.error: the message ends before it.
        """
        self.at += -self.at % 4
        (value,) = UINT32.unpack_from(self._raw, self.at)
        self.at += 4
        return int(value)

    def string(self) -> str:
        """Read a string.

        Raises:
            ValueError: the message ends before it, or it is not UTF-8.
        """
        length = self.uint32()
        text = self._raw[self.at : self.at + length]
        if len(text) != length or not length:
            raise ValueError("a string runs past the end")
        self.at += length
        return text[:-1].decode()

    def strings(self) -> tuple[str, ...]:
        """Read a sequence of strings."""
        return tuple(self.string() for _ in range(self.uint32()))

    def header(self) -> str:
        """Read a header; returns its frame."""
        self.at += -self.at % 4 + STAMP.size
        return self.string()


@dataclass(frozen=True)
class _Template:
    """The offsets of a joint state's numbers, and the bytes that messages of this layout share."""

    names: tuple[str, ...]
    head: bytes
    length: int
    position_at: int
    velocity_at: int | None


class JointStateReader:
    """Reads joint states of one topic; keeps the template of the last message."""

    def __init__(self) -> None:
        self._template: _Template | None = None

    def __call__(self, raw: bytes) -> tuple[tuple[str, ...], Array, Array | None] | None:
        """Names, positions (J,) and velocities (J,) or None; None for an unknown layout."""
        template = self._template
        if template is None or not _matches(template, raw):
            template = self._template = _joint_state_template(raw)
            if template is None or not _matches(template, raw):
                return None
        size = len(template.names)
        position = np.frombuffer(raw, "<f8", size, template.position_at)
        if template.velocity_at is None:
            return template.names, position, None
        return template.names, position, np.frombuffer(raw, "<f8", size, template.velocity_at)


def _matches(template: _Template, raw: bytes) -> bool:
    size = len(template.names)
    if (
        len(raw) < template.length
        or not raw.startswith(template.head, 12)
        or raw[:2] != LITTLE_ENDIAN
    ):
        return False
    count_at = template.position_at + 8 * size  # of the velocities, right after the positions
    count = size if template.velocity_at is not None else 0
    return bool(UINT32.unpack_from(raw, count_at)[0] == count)


def _joint_state_template(raw: bytes) -> _Template | None:
    cursor = Cursor(raw)
    try:
        cursor.header()
        names = cursor.strings()
        size = cursor.uint32()
        if size != len(names) or not size:
            return None
        head = raw[12 : cursor.at]
        position_at = align(cursor.at)
        cursor.at = position_at + 8 * size
        velocities = cursor.uint32()
        velocity_at = align(cursor.at)
    except (struct.error, ValueError):
        return None
    if velocities == size:
        return _Template(names, head, velocity_at + 8 * size, position_at, velocity_at)
    return _Template(names, head, cursor.at, position_at, None) if velocities == 0 else None


def align(at: int) -> int:
    """The offset of the next double.

    Args:
        at: an offset that is a multiple of 4.
    """
    return at + (4 - at) % 8


def read_stamp(raw: bytes) -> int:
    """The stamp of a message that begins with a header, ns.

    Args:
        raw: the message in CDR, little endian, with at least its header.
    """
    seconds, nanoseconds = STAMP.unpack_from(raw, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def read_pose(raw: bytes) -> tuple[str, Array, Array] | None:
    """Frame, position (3,) and quaternion xyzw (4,) of a PoseStamped; None for another layout.

    Args:
        raw: the message in CDR.
    """
    if raw[:2] != LITTLE_ENDIAN:
        return None
    cursor = Cursor(raw)
    try:
        frame = cursor.header()
        cursor.at += -cursor.at % 4
        numbers = np.array(_POSE.unpack_from(raw, align(cursor.at)))
    except (struct.error, ValueError):
        return None
    return frame, numbers[:3], numbers[3:]
