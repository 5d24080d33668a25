"""A tree of frames over time: expresses points of one frame in another, as tf2 does. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.pose import multiply, rotate
from pipeline.recordings.recording import Transform, Transforms

Array = NDArray[np.float64]

# A tree deeper than this is a loop.
_MAX_DEPTH = 100
# Transforms of a frame are kept this long, as in tf2 (tf2::BUFFER_CORE_DEFAULT_CACHE_TIME).
_HISTORY_NS = 10 * 10**9
# Below this angle two quaternions are interpolated linearly, rad.
_SMALL_RAD = 1e-6


def interpolate_rotation(start: Array, end: Array, share: float) -> Array:
    """A quaternion on the shorter way between two, by slerp (Shoemake 1985); keeps their norm.

    Args:
        start: xyzw, shape (4,).
        end: xyzw, shape (4,).
        share: from 0 at `start` to 1 at `end`.
    """
    dot = float(start @ end)
    if dot < 0:
        end, dot = -end, -dot
    norms = float(np.linalg.norm(start) * np.linalg.norm(end))
    angle = float(np.arccos(min(1.0, dot / norms))) if norms > 0 else 0.0
    if not angle > _SMALL_RAD:
        return (1 - share) * start + share * end
    weights = np.sin([(1 - share) * angle, share * angle]) / np.sin(angle)
    return np.asarray(weights[0] * start + weights[1] * end)


@dataclass(frozen=True)
class _Entry:
    """A transform with its two times."""

    stamp_ns: int
    """The time of the log where the transform has no stamp."""
    log_time_ns: int
    transform: Transform


_BY_STAMP = attrgetter("stamp_ns")
_BY_LOG = attrgetter("log_time_ns")


class _Frame:
    """The transforms of one frame to its parent over time."""

    def __init__(self, parent: str, static: bool) -> None:
        self.parent, self.static = parent, static
        self.entries: list[_Entry] = []
        """By their stamps."""

    def add(self, entry: _Entry) -> None:
        """Keep a transform; forget those before it if it is static or if the clock was reset."""
        newest_ns = self.entries[-1].stamp_ns if self.entries else entry.stamp_ns
        if self.static or entry.stamp_ns < newest_ns - _HISTORY_NS:
            self.entries.clear()
        insort(self.entries, entry, key=_BY_STAMP)
        while entry.stamp_ns - self.entries[0].stamp_ns > _HISTORY_NS:
            del self.entries[0]

    def covers(self, stamp_ns: int) -> bool:
        """Whether a transform before and one after a stamp are known."""
        return self.static or self.entries[0].stamp_ns <= stamp_ns <= self.entries[-1].stamp_ns

    def at(self, time_ns: int, key: Callable[[_Entry], int]) -> tuple[Transform, int | None]:
        """The transform at a time, interpolated, and the log time of the oldest that it needs.

        Before the first transform and after the last, that one holds. The log time is None for a
        static transform.

        Args:
            time_ns: a stamp or a time of the log.
            key: which of the two.
        """
        entries = self.entries
        if self.static:
            return entries[-1].transform, None
        index = bisect_right(entries, time_ns, key=key)
        if index in {0, len(entries)}:
            entry = entries[max(0, index - 1)]
            return entry.transform, entry.log_time_ns
        before, after = entries[index - 1], entries[index]
        # Transforms that were recorded in another order than that of their stamps may coincide.
        share = min(1.0, max(0.0, (time_ns - key(before)) / max(1, key(after) - key(before))))
        return _between(before.transform, after.transform, share), before.log_time_ns


def _between(start: Transform, end: Transform, share: float) -> Transform:
    return replace(
        start,
        translation=(1 - share) * start.translation + share * end.translation,
        rotation=interpolate_rotation(start.rotation, end.rotation, share),
    )


class FrameTree:
    """The transforms of each frame to its parent during the last ten seconds."""

    def __init__(self) -> None:
        self._frames: dict[str, _Frame] = {}

    def add(self, message: Transforms) -> None:
        """Add the transforms of a message of /tf or /tf_static.

        Args:
            message: a frame with another parent than before forgets its former transforms.
        """
        for transform in message.transforms:
            child, parent = transform.child.lstrip("/"), transform.parent.lstrip("/")
            frame = self._frames.get(child)
            if frame is None or (frame.parent, frame.static) != (parent, message.static):
                frame = self._frames[child] = _Frame(parent, message.static)
            stamp_ns = transform.stamp_ns or message.log_time_ns
            frame.add(_Entry(stamp_ns, message.log_time_ns, transform))

    def _ancestors(self, name: str) -> dict[str, list[_Frame]]:
        """Each frame above a frame, itself first, with the frames whose transforms lead there."""
        found: dict[str, list[_Frame]] = {name: []}
        path: list[_Frame] = []
        while name in self._frames and len(path) < _MAX_DEPTH:
            path = [*path, self._frames[name]]
            name = path[-1].parent
            if name in found:
                break
            found[name] = path
        return found

    def _chains(self, frame: str, base: str) -> tuple[list[_Frame], list[_Frame]] | None:
        """The frames from one and from another up to the first above both; None without such."""
        above_base = self._ancestors(base.lstrip("/"))
        above = self._ancestors(frame.lstrip("/"))
        common = next((name for name in above if name in above_base), None)
        return None if common is None else (above[common], above_base[common])

    def covers(self, frame: str, base: str, stamp_ns: int) -> bool:
        """Whether two frames connect and every transform between them is known at a stamp.

        Args:
            frame: one frame.
            base: the other.
            stamp_ns: the stamp.
        """
        chains = self._chains(frame, base)
        return chains is not None and all(
            each.covers(stamp_ns) for chain in chains for each in chain
        )

    def locate(
        self,
        frame: str,
        base: str,
        position: Array,
        axis: Array,
        times_ns: tuple[int, int] | None = None,
    ) -> tuple[Array, Array, int | None] | None:
        """Express a point and a direction, or an orientation, of one frame in another.

        Args:
            frame: where they are known.
            base: where they are wanted.
            position: m. Shape (3,).
            axis: a direction, shape (3,), or an orientation, quaternion xyzw, shape (4,).
            times_ns: their stamp and their time in the log. The transforms are those at the stamp;
                where they are not known for it, those at the time in the log. None takes the latest
                time at which every transform is known.

        Returns:
            Both in `base`, and the log time of the oldest transform that is not static, ns, or None
            if all are; None if the tree does not connect the frames.
        """
        chains = self._chains(frame, base)
        if chains is None:
            return None
        moving = [each for chain in chains for each in chain if not each.static]
        stamp_ns, log_time_ns = times_ns or (
            min((each.entries[-1].stamp_ns for each in moving), default=0),
            max((each.entries[-1].log_time_ns for each in moving), default=0),
        )
        turn = rotate if len(axis) == 3 else multiply
        key, time_ns = _BY_STAMP, stamp_ns
        if not all(each.covers(stamp_ns) for each in moving):
            key, time_ns = _BY_LOG, log_time_ns
        oldest: list[int] = []
        for steps, inverse in ((chains[0], False), (reversed(chains[1]), True)):
            for each in steps:
                transform, used_ns = each.at(time_ns, key)
                oldest += [] if used_ns is None else [used_ns]
                if inverse:
                    back = transform.rotation * np.array([-1.0, -1.0, -1.0, 1.0])
                    position = rotate(back, position - transform.translation)
                    axis = turn(back, axis)
                else:
                    position = transform.translation + rotate(transform.rotation, position)
                    axis = turn(transform.rotation, axis)
        return position, axis, min(oldest, default=None)
