"""Reads trajectories directly from CDR, whole columns of numbers at once (format: see cdr.py).

The plans of a recording usually have the same joints and the same fields. The first is read field
by field. If the next has the same bytes between its numbers, its numbers stand at the same offsets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.recording import Segment
from pipeline.recordings.rosbag.cdr import LITTLE_ENDIAN, STAMP, Cursor, align
from pipeline.recordings.rosbag.messages import DISPLAY_TRAJECTORY, JOINT_TRAJECTORY

Array = NDArray[np.float64]

_DURATION_BYTES = 8
_TWO = struct.Struct("<II")


@dataclass(frozen=True)
class _Template:
    """The offsets of the numbers in a message of one segment, and the bytes that all of them share.

    A row begins at a point's positions. The distance between rows is constant, although the first
    point may have another padding.
    """

    names: tuple[str, ...]
    before: bytes
    """The bytes before the stamp of the trajectory's header."""
    between: bytes
    """The bytes from the end of the stamp to the number of points."""
    after: bytes
    """The bytes from the end of the multi-DOF trajectory's stamp to its number of points, which is
    zero; empty if the message has no such trajectory."""
    start: int
    """Offset of the first position of the first point."""
    stride: int
    """Bytes from row to row."""
    span: int
    """Bytes from a point's positions to its end."""
    words: NDArray[np.intp]
    """Indices of the 4-byte words of a row that hold the numbers of velocities, accelerations and
    efforts."""
    lengths: NDArray[np.uint32]
    """The values of these words."""
    velocity_at: int | None
    """Bytes from a point's positions to its velocities; None if it has none."""


class PlanReader:
    """Reads the plans of one topic; keeps the template of the last message."""

    def __init__(self, msgtype: str) -> None:
        """Start without a template.

        Args:
            msgtype: DisplayTrajectory, RobotTrajectory or JointTrajectory.
        """
        self._msgtype = msgtype
        self._template: _Template | None = None

    def __call__(self, raw: bytes) -> tuple[Segment, ...] | None:
        """The segments of a message; None for an unknown layout.

        Args:
            raw: the message in CDR.
        """
        if self._template is not None:
            segment = _read_by_template(self._template, raw)
            if segment is not None:
                return (segment,)
        segments = read_plan(raw, self._msgtype)
        self._template = (
            _template_of(raw, self._msgtype) if segments and len(segments) == 1 else None
        )
        return segments


def _read_by_template(template: _Template, raw: bytes) -> Segment | None:
    """The segment of a message that matches the template, else None."""
    stamp_end = len(template.before) + STAMP.size
    count_at = stamp_end + len(template.between)
    known = raw.startswith(template.before) and raw.startswith(template.between, stamp_end)
    if not known or len(raw) < template.start:
        return None
    size = len(template.names)
    number, first = _TWO.unpack_from(raw, count_at)
    end = template.start + (number - 1) * template.stride + template.span
    if not number or first != size or end > len(raw):
        return None
    if template.after and not raw.startswith(template.after, end + STAMP.size):
        return None
    words = np.ndarray(
        (number, template.span // 4), "<u4", raw, template.start, (template.stride, 4)
    )
    following = np.ndarray(
        (number - 1,), "<u4", raw, template.start + template.span, (template.stride,)
    )
    if (words[:, template.words] != template.lengths).any() or (following != size).any():
        return None
    place = (template.stride, 8)
    position = np.ndarray((number, size), "<f8", raw, template.start, place)
    velocity = None
    if template.velocity_at is not None:
        velocity = np.ndarray(
            (number, size), "<f8", raw, template.start + template.velocity_at, place
        )
    seconds = words[:, -2].view("<i4")
    return Segment(template.names, seconds + words[:, -1] * 1e-9, position, velocity)


def _template_of(raw: bytes, msgtype: str) -> _Template | None:
    """The template of a message that `read_plan` can read; None for fewer than two points."""
    cursor = Cursor(raw)
    if msgtype == DISPLAY_TRAJECTORY:
        cursor.string()
        cursor.uint32()
    cursor.at += -cursor.at % 4
    stamp_at = cursor.at
    cursor.header()
    names = cursor.strings()
    cursor.at += -cursor.at % 4
    count_at = cursor.at
    number, size = cursor.uint32(), len(names)
    if number < 2 or not size:
        return None
    starts, at = [], cursor.at
    for _ in range(2):
        cursor.at = at
        places = _point(cursor, size)
        if places is None:
            return None
        counts, offsets, at = places
        starts.append(offsets["positions"])
    stride, span = starts[1] - starts[0], at - starts[1]
    end = starts[0] + (number - 1) * stride + span
    after = b""
    if msgtype != JOINT_TRAJECTORY:
        cursor.at = end
        cursor.header()
        cursor.strings()
        cursor.uint32()
        after = raw[end + STAMP.size : cursor.at]
    return _Template(
        names=names,
        before=raw[:stamp_at],
        between=raw[stamp_at + STAMP.size : count_at],
        after=after,
        start=starts[0],
        stride=stride,
        span=span,
        words=np.array([(place - starts[1]) // 4 for place, _ in counts[1:]], np.intp),
        lengths=np.array([length for _, length in counts[1:]], np.uint32),
        velocity_at=offsets["velocities"] - starts[1] if "velocities" in offsets else None,
    )


def read_plan(raw: bytes, msgtype: str = DISPLAY_TRAJECTORY) -> tuple[Segment, ...] | None:
    """Read the segments of a message field by field; None for another layout.

    All points must have positions. Velocities and accelerations must stand in all points or in
    none. There must be no multi-DOF trajectory. The state before the plan is ignored.

    Args:
        raw: the message in CDR.
        msgtype: DisplayTrajectory, RobotTrajectory or JointTrajectory.
    """
    if raw[:2] != LITTLE_ENDIAN:
        return None
    cursor = Cursor(raw)
    segments = []
    try:
        number = 1
        if msgtype == DISPLAY_TRAJECTORY:
            cursor.string()
            number = cursor.uint32()
        for _ in range(number):
            cursor.header()
            names = cursor.strings()
            segment = _points(raw, cursor, names, cursor.uint32())
            if segment is None:
                return None
            if msgtype != JOINT_TRAJECTORY:
                cursor.header()
                cursor.strings()
                if cursor.uint32():
                    return None
            segments.append(segment)
    except (struct.error, ValueError, TypeError):
        return None
    return tuple(segments)


def _points(raw: bytes, cursor: Cursor, names: tuple[str, ...], number: int) -> Segment | None:
    """Read all points of a trajectory and move the cursor past them."""
    size = len(names)
    if number * _DURATION_BYTES > len(raw):  # a damaged number would allocate too much memory
        return None
    t = np.empty(number)
    position, velocity = np.empty((2, number, size))
    has_velocity = False
    first = 0
    # The first point may need other padding than those after it, which have a constant distance.
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


def _point(cursor: Cursor, size: int) -> tuple[list[tuple[int, int]], dict[str, int], int] | None:
    """Offsets and values of the lengths of a point's sequences, offsets of the numbers, its end."""
    lengths: list[tuple[int, int]] = []
    offsets: dict[str, int] = {}
    for name in ("positions", "velocities", "accelerations", "effort"):
        length = cursor.uint32()
        lengths.append((cursor.at - 4, length))
        if length not in {0, size} or (name == "positions" and length != size):
            return None
        if length:
            offsets[name] = align(cursor.at)
            cursor.at = offsets[name] + 8 * length
    return lengths, offsets, cursor.at + _DURATION_BYTES


def _column(
    raw: bytes, at: int, count: int, stride: int, dtype: str, width: int
) -> NDArray[np.float64]:
    """Numbers at a constant distance. Shape (count, width).

    Raises:
        TypeError: they run past the end of the message.
    """
    kind = np.dtype(dtype)
    return np.ndarray((count, width), kind, raw, at, (stride, kind.itemsize))
