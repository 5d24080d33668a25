"""Serialises changes of MoveIt2's planning scene: obstacles that come and obstacles that go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import ObstacleError
from pipeline.recordings.rosbag.messages import (
    COLLISION_OBJECT,
    PLANNING_SCENE,
    doubles,
    make_header,
    make_joint_state,
    make_pose,
    make_robot_state,
    typestore,
)

Array = NDArray[np.float64]

_ADD, _REMOVE = 0, 1
_BOX, _SPHERE, _CYLINDER = 1, 2, 3


def serialize_planning_scene(
    time_ns: int, frame_id: str, obstacles: Array, removed: Sequence[str] = ()
) -> bytes:
    """A moveit_msgs/msg/PlanningScene in CDR that adds and removes obstacles (`is_diff`).

    Args:
        time_ns: stamp of the obstacles, ns.
        frame_id: frame of the obstacles.
        obstacles: rows of `pipeline.obstacles`, added as obstacle_1, obstacle_2, … and replacing
            those of the same name. Shape (M, 12).
        removed: names of obstacles that are removed.

    Raises:
        ObstacleError: an obstacle is neither a box nor a cylinder nor a sphere.
    """
    types = typestore().types
    added = [
        _collision_object(time_ns, frame_id, obstacle_name(number), row)
        for number, row in enumerate(obstacles, start=1)
    ]
    gone = [_collision_object(time_ns, frame_id, name) for name in removed]
    none = np.zeros(0)
    message = types[PLANNING_SCENE](
        name="",
        robot_state=make_robot_state(make_joint_state(0, [], none, none), is_diff=True),
        robot_model_name="",
        fixed_frame_transforms=[],
        allowed_collision_matrix=types["moveit_msgs/msg/AllowedCollisionMatrix"](
            entry_names=[], entry_values=[], default_entry_names=[],
            default_entry_values=np.zeros(0, np.bool_),
        ),
        link_padding=[], link_scale=[], object_colors=[],
        world=types["moveit_msgs/msg/PlanningSceneWorld"](
            collision_objects=[*added, *gone], octomap=_no_octomap()
        ),
        is_diff=True,
    )  # fmt: skip
    return bytes(typestore().serialize_cdr(message, PLANNING_SCENE, little_endian=True))


def obstacle_name(number: int) -> str:
    """The name of an obstacle in the scene.

    Args:
        number: from 1.
    """
    return f"obstacle_{number}"


def _collision_object(time_ns: int, frame_id: str, name: str, row: Array | None = None) -> Any:
    """An obstacle that is added, or one that is removed if there is no row."""
    types = typestore().types
    origin = make_pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    return types[COLLISION_OBJECT](
        header=make_header(time_ns, frame_id),
        pose=origin if row is None else make_pose(row[:3], row[3:7]),
        id=name,
        type=types["object_recognition_msgs/msg/ObjectType"](key="", db=""),
        primitives=[] if row is None else [_primitive(row)],
        primitive_poses=[] if row is None else [origin],
        meshes=[],
        mesh_poses=[],
        planes=[],
        plane_poses=[],
        subframe_names=[],
        subframe_poses=[],
        operation=_REMOVE if row is None else _ADD,
    )


def _primitive(row: Array) -> Any:
    """The shape of an obstacle as shape_msgs/msg/SolidPrimitive."""
    half, disc, ball = row[7:10], float(row[10]), float(row[11])
    if (half > 0).all() and disc == ball == 0:
        kind, dimensions = _BOX, 2 * half
    elif (half == 0).all() and disc == 0 and ball > 0:
        kind, dimensions = _SPHERE, np.array([ball])
    elif (half[:2] == 0).all() and half[2] > 0 and disc > 0 and ball == 0:
        kind, dimensions = _CYLINDER, np.array([2 * half[2], disc])
    else:
        raise ObstacleError(
            f"obstacle {row.tolist()}: expected a box, a cylinder or a sphere with sizes above 0, "
            "which are the shapes that MoveIt knows"
        )
    types = typestore().types
    polygon = types["geometry_msgs/msg/Polygon"](points=[])
    return types["shape_msgs/msg/SolidPrimitive"](
        type=kind, dimensions=doubles(dimensions), polygon=polygon
    )


def _no_octomap() -> Any:
    types = typestore().types
    return types["octomap_msgs/msg/OctomapWithPose"](
        header=make_header(0, ""),
        origin=make_pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])),
        octomap=types["octomap_msgs/msg/Octomap"](
            header=make_header(0, ""), binary=False, id="", resolution=0.0,
            data=np.zeros(0, np.int8),
        ),
    )  # fmt: skip
