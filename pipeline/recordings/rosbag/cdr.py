"""Reads joint states and poses straight from CDR, several times faster than a general decoder.

A shortcut only: it answers None whenever bytes are not as it expects them, and the general decoder
takes over. Wire format: OMG CDR, little endian, as in DDS; alignment counts from the byte after the
four of the encapsulation, a string is its length with the closing zero and then the bytes, a
sequence is its length and then the elements, and an empty one has no padding.
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
# Types whose fields these readers know by heart.
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


def knows(store: Typestore, msgtype: str) -> bool:
    """Whether a recording's definition of a type is the one that these readers know.

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
    """A place in a message, which moves on as fields are read."""

    def __init__(self, raw: bytes) -> None:
        """Stand behind the encapsulation.

        Args:
            raw: the message in CDR, little endian.
        """
        self._raw = raw
        self.at = 4

    def uint32(self) -> int:
        """The next number.

        Raises:
            struct.error: the message ends before.
        """
        self.at += -self.at % 4
        (value,) = UINT32.unpack_from(self._raw, self.at)
        self.at += 4
        return int(value)

    def string(self) -> str:
        """The next text.

        Raises:
            ValueError: the message ends before, or it is no UTF-8.
        """
        length = self.uint32()
        text = self._raw[self.at : self.at + length]
        if len(text) != length or not length:
            raise ValueError("a string runs past the end")
        self.at += length
        return text[:-1].decode()

    def strings(self) -> tuple[str, ...]:
        """The next sequence of texts."""
        return tuple(self.string() for _ in range(self.uint32()))

    def header(self) -> str:
        """The frame of the next header."""
        self.at += -self.at % 4 + STAMP.size
        return self.string()


@dataclass(frozen=True)
class _Form:
    """Where the numbers of a joint state stand, and the bytes by which it is known again."""

    names: tuple[str, ...]
    head: bytes
    length: int
    position_at: int
    velocity_at: int | None


class JointStateReader:
    """Reads joint states of one topic; remembers the form of the one before."""

    def __init__(self) -> None:
        self._form: _Form | None = None

    def __call__(self, raw: bytes) -> tuple[tuple[str, ...], Array, Array | None] | None:
        """Names, positions (J,) and velocities (J,) or None; None where the form is another."""
        form = self._form
        if form is None or not _fits(form, raw):
            form = self._form = _joint_state_form(raw)
            if form is None or not _fits(form, raw):
                return None
        size = len(form.names)
        position = np.frombuffer(raw, "<f8", size, form.position_at)
        if form.velocity_at is None:
            return form.names, position, None
        return form.names, position, np.frombuffer(raw, "<f8", size, form.velocity_at)


def _fits(form: _Form, raw: bytes) -> bool:
    size = len(form.names)
    if len(raw) < form.length or not raw.startswith(form.head, 12) or raw[:2] != LITTLE_ENDIAN:
        return False
    count_at = form.position_at + 8 * size  # of the velocities, right after the positions
    count = size if form.velocity_at is not None else 0
    return bool(UINT32.unpack_from(raw, count_at)[0] == count)


def _joint_state_form(raw: bytes) -> _Form | None:
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
        return _Form(names, head, velocity_at + 8 * size, position_at, velocity_at)
    return _Form(names, head, cursor.at, position_at, None) if velocities == 0 else None


def align(at: int) -> int:
    """The next place for a double.

    Args:
        at: a place that is a multiple of 4.
    """
    return at + (4 - at) % 8


def read_pose(raw: bytes) -> tuple[str, Array, Array] | None:
    """Frame, position (3,) and quaternion xyzw (4,) of a PoseStamped; None for another form.

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
