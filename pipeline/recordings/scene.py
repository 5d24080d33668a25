"""Follows MoveIt2's planning scene and gives the obstacles in it. Pure.

Objects come, move and go as they do in MoveIt. Those that are attached to the robot are no
obstacles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS, UNIT_TOLERANCE
from pipeline.recordings.pose import Pose
from pipeline.recordings.recording import Obstacles
from pipeline.recordings.scene_messages import SceneChange, SceneObject, SceneShape

Array = NDArray[np.float64]
Locate = Callable[[str], Pose | None]
"""Gives the present pose of a frame in the robot's base frame, or None if it is not known."""


@dataclass(frozen=True)
class _Body:
    """An object in the world, or attached to a link."""

    pose: Pose | None
    """In the base frame, or in the link's frame while it is attached; None if it is not known."""
    frame_id: str
    """The frame in which its pose was given."""
    shapes: tuple[SceneShape, ...]
    link: str = ""


class Scene:
    """The objects of a planning scene."""

    def __init__(self, ignored: Collection[str] = ()) -> None:
        """Start with an empty scene.

        Args:
            ignored: names of objects that are no obstacles.
        """
        self._ignored = frozenset(ignored)
        self._world: dict[str, _Body] = {}
        self._attached: dict[str, _Body] = {}
        self._octomap = False

    def apply(self, change: SceneChange, locate: Locate) -> Obstacles:
        """Change the scene as a message says, and give the obstacles after it.

        Args:
            change: the message.
            locate: poses of the frames that it names.
        """
        if change.whole:
            self._world.clear()
        if change.clears_attached:
            self._attached.clear()
        for item in change.attached:
            if item.operation in {"add", "append"}:
                self._attach(item, locate)
            elif item.operation == "remove":
                self._detach(item, locate)
        for item in change.objects:
            self._change(item, locate)
        if change.octomap is not None:
            self._octomap = change.octomap
        return self._obstacles(change.log_time_ns)

    def _change(self, item: SceneObject, locate: Locate) -> None:
        """Add, extend, move or remove an object of the world."""
        before = self._world.get(item.name)
        match item.operation:
            case "remove" if not item.name:
                self._world.clear()
            case "remove":
                self._world.pop(item.name, None)
            case "move" if before is not None:
                shapes, poses = before.shapes, item.shape_poses
                if len(poses) == len(shapes):
                    shapes = tuple(replace(s, pose=p) for s, p in zip(shapes, poses, strict=True))
                self._world[item.name] = replace(_body(item, locate), shapes=shapes)
            case "append" if before is not None:
                # The object keeps its pose, and the shapes are placed relative to it.
                self._world[item.name] = replace(before, shapes=before.shapes + item.shapes)
            case "add" | "append" if item.shapes:
                self._world[item.name] = _body(item, locate)

    def _attach(self, item: SceneObject, locate: Locate) -> None:
        """Take an object from the world, or from the message, to a link."""
        body = _body(item, locate) if item.shapes else self._world.get(item.name)
        if body is None:
            return
        self._world.pop(item.name, None)
        before = self._attached.get(item.name)
        if item.operation == "append" and before is not None:
            self._attached[item.name] = replace(before, shapes=before.shapes + item.shapes)
            return
        link = locate(item.link)
        pose = None if body.pose is None or link is None else link.inverse() @ body.pose
        if item.shapes and item.frame_id.lstrip("/") == item.link:
            pose = item.pose
        self._attached[item.name] = _Body(pose, item.link, body.shapes, item.link)

    def _detach(self, item: SceneObject, locate: Locate) -> None:
        """Put the object of a name, or every object of a link, back into the world."""
        for name in [item.name] if item.name else list(self._attached):
            body = self._attached.get(name)
            if body is None or (item.link and body.link != item.link):
                continue
            del self._attached[name]
            link = locate(body.link)
            pose = None if body.pose is None or link is None else link @ body.pose
            self._world.setdefault(name, replace(body, pose=pose))

    def _obstacles(self, log_time_ns: int) -> Obstacles:
        """The objects of the world as obstacles."""
        rows: list[Array] = []
        unresolved, invalid = [], []
        unsupported = ["octomap"] if self._octomap else []
        for name, body in self._world.items():
            if name in self._ignored:
                continue
            if body.pose is None:
                unresolved.append(f"{name!r} in frame {body.frame_id!r}")
            for shape in body.shapes:
                if shape.unsupported:
                    unsupported.append(f"{shape.unsupported} of {name!r}")
                elif shape.row is None:
                    invalid.append(f"{shape.invalid} of {name!r}")
                elif body.pose is not None:
                    row = _placed(body.pose @ shape.pose, shape.row)
                    if row is None:
                        invalid.append(f"pose of {name!r} that is not finite or no rotation")
                    else:
                        rows.append(row)
        around = np.stack(rows) if rows else np.zeros((0, COLUMNS))
        return Obstacles(log_time_ns, around, tuple(unresolved), tuple(invalid), tuple(unsupported))


def _body(item: SceneObject, locate: Locate) -> _Body:
    frame = locate(item.frame_id)
    pose = None if frame is None else frame @ item.pose
    return _Body(pose, item.frame_id, item.shapes)


def _placed(pose: Pose, row: Array) -> Array | None:
    """An obstacle of a shape's frame in the base frame; None if the pose is not one."""
    placed = pose @ Pose(row[:3], row[3:7])
    norm = float(np.linalg.norm(placed.orientation))
    if not np.isfinite(placed.position).all() or not abs(norm - 1) < UNIT_TOLERANCE:
        return None
    return np.concatenate([placed.position, placed.orientation / norm, row[7:]])
