"""Reads plans and joint states straight from CDR, several times faster than a general decoder.

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

from pipeline.data.messages import DISPLAY_TRAJECTORY, JOINT_STATE, typestore
from pipeline.data.recording import Segment

Array = NDArray[np.float64]

_LITTLE_ENDIAN = b"\x00\x01"
_UINT32 = struct.Struct("<I")
_STAMP = struct.Struct("<iI")
_DURATION_BYTES = 8
# Types whose fields these readers know by heart.
_KNOWN = {
    JOINT_STATE: (JOINT_STATE, "std_msgs/msg/Header"),
    DISPLAY_TRAJECTORY: (
        DISPLAY_TRAJECTORY,
        "moveit_msgs/msg/RobotTrajectory",
        "trajectory_msgs/msg/JointTrajectory",
        "trajectory_msgs/msg/JointTrajectoryPoint",
        "trajectory_msgs/msg/MultiDOFJointTrajectory",
        "std_msgs/msg/Header",
        "builtin_interfaces/msg/Duration",
    ),
}


def knows(store: Typestore, msgtype: str) -> bool:
    """Whether a recording's definition of a type is the one that these readers know.

    Args:
        store: types as the recording defines them.
        msgtype: JointState or DisplayTrajectory.
    """
    if msgtype not in _KNOWN:
        return False
    ours, theirs = typestore().fielddefs, store.fielddefs
    return all(
        name in theirs and list(theirs[name][1]) == list(ours[name][1]) for name in _KNOWN[msgtype]
    )


class _Cursor:
    """A place in a message, which moves on as fields are read."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 4

    def uint32(self) -> int:
        self.at += -self.at % 4
        (value,) = _UINT32.unpack_from(self._raw, self.at)
        self.at += 4
        return int(value)

    def string(self) -> str:
        length = self.uint32()
        text = self._raw[self.at : self.at + length]
        if len(text) != length or not length:
            raise ValueError("a string runs past the end")
        self.at += length
        return text[:-1].decode()

    def strings(self) -> tuple[str, ...]:
        return tuple(self.string() for _ in range(self.uint32()))

    def header(self) -> None:
        self.at += -self.at % 4 + _STAMP.size
        self.string()


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
    if len(raw) < form.length or not raw.startswith(form.head, 12) or raw[:2] != _LITTLE_ENDIAN:
        return False
    count_at = form.position_at + 8 * size  # of the velocities, right after the positions
    count = size if form.velocity_at is not None else 0
    return bool(_UINT32.unpack_from(raw, count_at)[0] == count)


def _joint_state_form(raw: bytes) -> _Form | None:
    cursor = _Cursor(raw)
    try:
        cursor.header()
        names = cursor.strings()
        size = cursor.uint32()
        if size != len(names) or not size:
            return None
        head = raw[12 : cursor.at]
        position_at = _align(cursor.at)
        cursor.at = position_at + 8 * size
        velocities = cursor.uint32()
        velocity_at = _align(cursor.at)
    except (struct.error, ValueError):
        return None
    if velocities == size:
        return _Form(names, head, velocity_at + 8 * size, position_at, velocity_at)
    return _Form(names, head, cursor.at, position_at, None) if velocities == 0 else None


def _align(at: int) -> int:
    """The next place for a double."""
    return at + (4 - at) % 8


def read_plan(raw: bytes) -> tuple[Segment, ...] | None:
    """The segments of a DisplayTrajectory, None where its form is another.

    Taken: points that all carry positions, and velocities and accelerations either all or none,
    and no multi-DOF trajectory. The state before the plan is not looked at.

    Args:
        raw: the message in CDR.
    """
    if raw[:2] != _LITTLE_ENDIAN:
        return None
    cursor = _Cursor(raw)
    segments = []
    try:
        cursor.string()
        for _ in range(cursor.uint32()):
            cursor.header()
            names = cursor.strings()
            segment = _points(raw, cursor, names, cursor.uint32())
            cursor.header()
            cursor.strings()
            if segment is None or cursor.uint32():
                return None
            segments.append(segment)
    except (struct.error, ValueError, TypeError):
        return None
    return tuple(segments)


def _points(raw: bytes, cursor: _Cursor, names: tuple[str, ...], number: int) -> Segment | None:
    """All points of a trajectory; moves the cursor past them."""
    size = len(names)
    if number * _DURATION_BYTES > len(raw):  # a wrong length would ask for any amount of memory
        return None
    t = np.empty(number)
    position, velocity = np.empty((2, number, size))
    has_velocity = False
    first = 0
    # A point starts on a multiple of 8 or between two; from the second on all start alike, so
    # their numbers stand at a constant distance.
    for count in (min(1, number), number - 1):
        if count <= 0:
            continue
        start = cursor.at
        places = _point(cursor, size)
        if places is None:
            return None
        lengths, offsets, end = places
        stride = end - start
        rows = slice(first, first + count)
        for at, length in lengths:
            if np.any(_column(raw, at, count, stride, "<u4", 1) != length):
                return None
        position[rows] = _column(raw, offsets["positions"], count, stride, "<f8", size)
        carries = "velocities" in offsets
        if first and carries != has_velocity:
            return None
        has_velocity = carries
        if carries:
            velocity[rows] = _column(raw, offsets["velocities"], count, stride, "<f8", size)
        seconds = _column(raw, end - 8, count, stride, "<i4", 1)[:, 0]
        nanoseconds = _column(raw, end - 4, count, stride, "<u4", 1)[:, 0]
        t[rows] = seconds + nanoseconds * 1e-9
        cursor.at = start + count * stride
        first += count
    return Segment(names, t, position, velocity if has_velocity else None)


def _point(cursor: _Cursor, size: int) -> tuple[list[tuple[int, int]], dict[str, int], int] | None:
    """Lengths of a point's sequences and where they stand, where their numbers start, its end."""
    lengths: list[tuple[int, int]] = []
    offsets: dict[str, int] = {}
    for name in ("positions", "velocities", "accelerations", "effort"):
        length = cursor.uint32()
        lengths.append((cursor.at - 4, length))
        if length not in {0, size} or (name == "positions" and length != size):
            return None
        if length:
            offsets[name] = _align(cursor.at)
            cursor.at = offsets[name] + 8 * length
    return lengths, offsets, cursor.at + _DURATION_BYTES


def _column(
    raw: bytes, at: int, count: int, stride: int, dtype: str, width: int
) -> NDArray[np.float64]:
    """Numbers that repeat at a distance, shape (count, width).

    Raises:
        TypeError: they run past the end of the message.
    """
    kind = np.dtype(dtype)
    return np.ndarray((count, width), kind, raw, at, (stride, kind.itemsize))
