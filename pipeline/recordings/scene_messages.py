"""Turns MoveIt2's messages about its planning scene into changes of the scene. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.pose import IDENTITY, Pose
from pipeline.recordings.solids import (
    InvalidShapeError,
    UnsupportedShapeError,
    mesh_obstacle,
    primitive_obstacle,
)

Array = NDArray[np.float64]
Operation = Literal["add", "remove", "append", "move"]
_OPERATIONS: tuple[Operation, ...] = ("add", "remove", "append", "move")


@dataclass(frozen=True)
class SceneShape:
    """One shape of an object in the scene."""

    pose: Pose
    """In the object's frame."""
    row: Array | None
    """The obstacle in the shape's own frame, shape (12,); None if it cannot be expressed as one."""
    invalid: str = ""
    """What is wrong with its numbers."""
    unsupported: str = ""
    """What it is, if it cannot be expressed as an obstacle."""


@dataclass(frozen=True)
class SceneObject:
    """What a message says about an object in the scene, or attached to a link of the robot."""

    operation: Operation
    name: str
    """Empty for all objects, where objects are removed."""
    frame_id: str
    pose: Pose
    """In the frame `frame_id`."""
    shapes: tuple[SceneShape, ...]
    shape_poses: tuple[Pose, ...]
    """As the message lists them, for objects that are moved."""
    link: str = ""
    """The link to which the object is attached or from which it is detached; may be empty then."""


@dataclass(frozen=True)
class SceneChange:
    """One message about the scene."""

    log_time_ns: int
    objects: tuple[SceneObject, ...]
    """Changes of the world, in order."""
    attached: tuple[SceneObject, ...] = ()
    """Objects that are attached to the robot or detached, before the changes of the world."""
    whole: bool = False
    """Whether the message describes the whole world, which replaces the one before."""
    clears_attached: bool = False
    """Whether objects vanish that are attached and not named."""
    octomap: bool | None = None
    """Whether there is an octomap now; None leaves it as it is."""

    @property
    def frames(self) -> set[str]:
        """The frames in which poses are given."""
        items = [item for item in (*self.objects, *self.attached) if item.operation != "remove"]
        return {item.frame_id for item in items} | {item.link for item in items if item.link}


def parse_planning_scene(topic: str, index: int, time_ns: int, message: Any) -> SceneChange:
    """The change by a moveit_msgs/msg/PlanningScene, a full one or a difference.

    Args:
        topic: unused.
        index: unused.
        time_ns: log time.
        message: as decoded.
    """
    octomap, state = message.world.octomap.octomap, message.robot_state
    holds = bool(len(octomap.data))
    changes_map = not message.is_diff or bool(octomap.id)
    return SceneChange(
        time_ns,
        tuple(map(_object, message.world.collision_objects)),
        tuple(map(_attached, state.attached_collision_objects)),
        whole=not message.is_diff,
        clears_attached=not state.is_diff,
        octomap=holds if changes_map else None,
    )


def parse_collision_object(topic: str, index: int, time_ns: int, message: Any) -> SceneChange:
    """The change by a moveit_msgs/msg/CollisionObject.

    Args:
        topic: unused.
        index: unused.
        time_ns: log time.
        message: as decoded.
    """
    return SceneChange(time_ns, (_object(message),))


def parse_attached_object(topic: str, index: int, time_ns: int, message: Any) -> SceneChange:
    """The change by a moveit_msgs/msg/AttachedCollisionObject.

    Args:
        topic: unused.
        index: unused.
        time_ns: log time.
        message: as decoded.
    """
    return SceneChange(time_ns, (), (_attached(message),))


def _attached(message: Any) -> SceneObject:
    return _object(message.object, str(message.link_name))


@np.errstate(all="ignore")
def _object(message: Any, link: str = "") -> SceneObject:
    """One moveit_msgs/msg/CollisionObject.

    Raises:
        ValueError: its operation is unknown.
    """
    operation = int(message.operation)
    if operation not in range(len(_OPERATIONS)):
        raise ValueError(f"object {message.id!r}: operation {operation}, expected 0 to 3")
    shapes: list[SceneShape] = []
    poses: list[Pose] = []
    parts: tuple[tuple[Sequence[Any], Sequence[Any], Callable[[Any], Array]], ...] = (
        (message.primitives, message.primitive_poses, primitive_obstacle),
        (message.meshes, message.mesh_poses, mesh_obstacle),
        (message.planes, message.plane_poses, _plane),
    )
    for items, item_poses, convert in parts:
        poses += map(_pose, item_poses)
        if len(items) and len(item_poses) > len(items):
            wrong = f"{len(items)} shapes with {len(item_poses)} poses"
            shapes.append(SceneShape(IDENTITY, None, invalid=wrong))
            continue
        for item, item_pose in zip_longest(items, item_poses if len(items) else ()):
            pose = IDENTITY if item_pose is None else _pose(item_pose)
            shapes.append(_shape(item, pose, convert))
    # moveit_msgs has objects with a pose of their own since Galactic.
    pose = _pose(message.pose) if hasattr(message, "pose") else IDENTITY
    if len(shapes) == 1 and hasattr(message, "pose") and _is_identity(pose):
        # As MoveIt does: the pose of the only shape becomes the object's, which MOVE replaces.
        (only,) = shapes
        pose, shapes = only.pose, [SceneShape(IDENTITY, only.row, only.invalid, only.unsupported)]
    return SceneObject(
        _OPERATIONS[operation], str(message.id), str(message.header.frame_id), pose,
        tuple(shapes), tuple(poses), link,
    )  # fmt: skip


def _shape(item: Any, pose: Pose, convert: Callable[[Any], Array]) -> SceneShape:
    try:
        return SceneShape(pose, convert(item))
    except InvalidShapeError as error:
        return SceneShape(pose, None, invalid=str(error))
    except UnsupportedShapeError as error:
        return SceneShape(pose, None, unsupported=str(error))


def _plane(plane: Any) -> Array:
    raise UnsupportedShapeError("plane")


def _pose(message: Any) -> Pose:
    """One geometry_msgs/msg/Pose. As in MoveIt, a quaternion of zeros turns nothing."""
    position, turn = message.position, message.orientation
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w], np.float64)
    norm = float(np.linalg.norm(quaternion))
    quaternion = quaternion / norm if norm != 0 else IDENTITY.orientation
    return Pose(np.array([position.x, position.y, position.z], np.float64), quaternion)


def _is_identity(pose: Pose) -> bool:
    return not pose.position.any() and bool((pose.orientation == IDENTITY.orientation).all())
