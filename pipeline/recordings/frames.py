"""Brings the object's poses and the obstacles into the base frame. Pure.

Turns transforms of /tf into poses of the object, and other frames into the base frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TypeGuard

import numpy as np

from pipeline.recordings.frame_tree import FrameTree
from pipeline.recordings.pose import IDENTITY, Pose, rotate
from pipeline.recordings.recording import Message, ObjectPose, Transforms, Unreadable
from pipeline.recordings.scene import Scene
from pipeline.recordings.scene_messages import SceneChange

_Z = np.array([0.0, 0.0, 1.0])
# A pose waits this long for the transforms that its stamp needs, by the times of the log.
_WAIT_NS = 10**9


def resolve_frames(
    messages: Iterable[Message],
    bases: tuple[str, ...],
    object_frame: str | None,
    static: Iterable[Transforms] = (),
    ignored: Collection[str] = (),
) -> Iterator[Message]:
    """Messages without transforms, the object's poses in the base frame as far as they can be.

    A pose is brought there by the transforms at its stamp. It waits for them, and the messages
    behind it with it, for up to a second of the log. A change of the scene becomes the obstacles
    after it. They are brought there by the latest transforms, as MoveIt does.

    Args:
        messages: those of a recording, in order of log time.
        bases: names of the robot's base frame.
        object_frame: the object's frame in the tree, None if its pose is not a frame.
        static: the recording's static transforms, which hold before they were recorded too.
        ignored: names of objects in the scene that are no obstacles.
    """
    resolver = _Resolver(bases, object_frame, ignored)
    # Where a static transform changes, the earlier one holds at first.
    for transforms in reversed(list(static)):
        resolver.tree.add(transforms)
    yield from resolver.object_pose(0)
    waiting: deque[Message] = deque()
    for message in messages:
        if isinstance(message, Transforms):
            resolver.tree.add(message)
            waiting.extend(resolver.object_pose(message.log_time_ns))
        else:
            waiting.append(message)
        now_ns = None if isinstance(message, Unreadable) else message.log_time_ns
        while waiting and resolver.is_ready(waiting[0], now_ns):
            yield resolver.resolve(waiting.popleft())
    yield from map(resolver.resolve, waiting)


class _Resolver:
    """A tree of frames, and the frames between which it is asked for."""

    def __init__(
        self, bases: tuple[str, ...], object_frame: str | None, ignored: Collection[str]
    ) -> None:
        self.tree = FrameTree()
        self._bases, self._object_frame = bases, object_frame
        self._scene = Scene(ignored)

    def _is_base(self, frame_id: str) -> bool:
        return frame_id.lstrip("/") in self._bases

    def _is_foreign(self, message: Message) -> TypeGuard[ObjectPose]:
        return isinstance(message, ObjectPose) and not self._is_base(message.frame_id)

    def is_ready(self, message: Message, now_ns: int | None) -> bool:
        """Whether a message need not wait for transforms that may still come."""
        if isinstance(message, SceneChange):
            ready = all(self._locate(frame) is not None for frame in message.frames)
        elif self._is_foreign(message):
            stamp_ns = message.stamp_ns or message.log_time_ns
            ready = any(self.tree.covers(message.frame_id, base, stamp_ns) for base in self._bases)
        else:
            return True
        return ready or (now_ns is not None and now_ns - message.log_time_ns > _WAIT_NS)

    def resolve(self, message: Message) -> Message:
        """A pose of another frame in the base frame if the tree connects them; obstacles."""
        if isinstance(message, SceneChange):
            # A pose of any numbers is chained first and judged then.
            with np.errstate(all="ignore"):
                return self._scene.apply(message, self._locate)
        if not self._is_foreign(message):
            return message
        axis = message.orientation
        axis = rotate(axis, _Z) if len(axis) == 4 else axis
        log_time_ns = message.log_time_ns
        times_ns = (message.stamp_ns or log_time_ns, log_time_ns)
        for base in self._bases:
            found = self.tree.locate(message.frame_id, base, message.position, axis, times_ns)
            if found is not None:
                position, axis, used_ns = found
                older_ns = log_time_ns if used_ns is None else min(log_time_ns, used_ns)
                return replace(
                    message, log_time_ns=older_ns, frame_id=self._bases[0], position=position,
                    orientation=axis,
                )  # fmt: skip
        return message

    def _locate(self, frame_id: str) -> Pose | None:
        """The latest pose of a frame in the base frame; None if the tree does not connect them."""
        if self._is_base(frame_id):
            return IDENTITY
        here = (IDENTITY.position, IDENTITY.orientation)
        found = (self.tree.locate(frame_id, base, *here) for base in self._bases)
        return next((Pose(*each[:2]) for each in found if each is not None), None)

    def object_pose(self, log_time_ns: int) -> Iterator[ObjectPose]:
        """The pose of the object's frame, if there is one and the tree connects it."""
        for base in self._bases if self._object_frame is not None else ():
            found = self.tree.locate(str(self._object_frame), base, np.zeros(3), _Z)
            if found is not None:
                position, axis, used_ns = found
                time_ns = log_time_ns if used_ns is None else used_ns
                yield ObjectPose(time_ns, self._bases[0], position, axis, ageless=used_ns is None)
                return
