"""Where the object lies, out of a tree of frames. Pure.

Turns the transforms of /tf into poses of the object in the base frame, and poses in other frames
into the base frame where the tree says how.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.recording import Event, ObjectPose, Transform, Transforms

Array = NDArray[np.float64]

_Z = np.array([0.0, 0.0, 1.0])
# A tree deeper than this is a loop.
_DEEPEST = 100


def rotate(quaternion: Array, vector: Array) -> Array:
    """A vector turned by a quaternion, q v q*; scaled by |q|², so that a bad norm can be seen.

    Args:
        quaternion: xyzw, shape (4,).
        vector: shape (3,).
    """
    axis, w = quaternion[:3], quaternion[3]
    cross = np.cross(axis, vector)
    turned: Array = (w * w - axis @ axis) * vector + 2 * (axis @ vector) * axis + 2 * w * cross
    return turned


class FrameTree:
    """The latest transform of each frame to its parent."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[Transform, int | None]] = {}

    def add(self, message: Transforms) -> None:
        """Take in a message of /tf or /tf_static.

        Args:
            message: its transforms; each replaces what was known of its child.
        """
        time = None if message.static else message.log_time_ns
        for transform in message.transforms:
            entry = (transform, time)
            self._parents[transform.child.lstrip("/")] = entry

    def _ancestors(self, frame: str) -> dict[str, list[tuple[Transform, int | None]]]:
        """Each frame above, itself first, with the transforms that lead to it."""
        found: dict[str, list[tuple[Transform, int | None]]] = {frame: []}
        path: list[tuple[Transform, int | None]] = []
        while frame in self._parents and len(path) < _DEEPEST:
            entry = self._parents[frame]
            path = [*path, entry]
            frame = entry[0].parent.lstrip("/")
            if frame in found:
                break
            found[frame] = path
        return found

    def locate(
        self, frame: str, base: str, position: Array, axis: Array
    ) -> tuple[Array, Array, int | None] | None:
        """A point and a direction of one frame as another sees them.

        Args:
            frame: where they are known.
            base: where they are wanted.
            position: m. Shape (3,).
            axis: shape (3,).

        Returns:
            Both in `base`, and the log time of the oldest transform between that is not static,
            ns, or None where all are; None where the tree does not connect the frames.
        """
        above_base = self._ancestors(base.lstrip("/"))
        above = self._ancestors(frame.lstrip("/"))
        common = next((name for name in above if name in above_base), None)
        if common is None:
            return None
        for transform, _ in above[common]:
            position = transform.translation + rotate(transform.rotation, position)
            axis = rotate(transform.rotation, axis)
        for transform, _ in reversed(above_base[common]):
            back = transform.rotation * np.array([-1.0, -1.0, -1.0, 1.0])
            position = rotate(back, position - transform.translation)
            axis = rotate(back, axis)
        times = [time for _, time in above[common] + above_base[common] if time is not None]
        return position, axis, min(times, default=None)


def resolve_frames(
    events: Iterable[Event], bases: tuple[str, ...], object_frame: str | None
) -> Iterator[Event]:
    """Events without transforms, the object's poses in the base frame as far as they can be.

    Args:
        events: what a recording says, in order of log time.
        bases: names of the robot's base frame.
        object_frame: the object's frame in the tree, None where its pose is no frame.
    """
    tree = FrameTree()
    for event in events:
        if isinstance(event, Transforms):
            tree.add(event)
            if object_frame is not None:
                pose = _pose(tree, object_frame, bases, np.zeros(3), _Z)
                if pose is not None:
                    time = pose[2]
                    yield ObjectPose(
                        event.log_time_ns if time is None else time,
                        bases[0], pose[0], pose[1], ageless=time is None,
                    )  # fmt: skip
        elif isinstance(event, ObjectPose) and event.frame_id.lstrip("/") not in bases:
            axis = event.orientation
            axis = rotate(axis, _Z) if len(axis) == 4 else axis
            pose = _pose(tree, event.frame_id, bases, event.position, axis)
            if pose is None:
                yield event
            else:
                older = min(event.log_time_ns, event.log_time_ns if pose[2] is None else pose[2])
                yield replace(
                    event, log_time_ns=older, frame_id=bases[0], position=pose[0],
                    orientation=pose[1],
                )  # fmt: skip
        else:
            yield event


def _pose(
    tree: FrameTree, frame: str, bases: tuple[str, ...], position: Array, axis: Array
) -> tuple[Array, Array, int | None] | None:
    for base in bases:
        pose = tree.locate(frame, base, position, axis)
        if pose is not None:
            return pose
    return None
