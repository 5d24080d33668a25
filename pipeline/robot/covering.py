"""Converts the collision shapes of arm, scene and object to simple bodies that enclose them.

Boxes, cylinders, capsules and spheres are used unchanged. Any other shape (mesh, cone, …) is
replaced by the smaller of two boxes around its points. The pairs are those of the collision checks.
"""

from __future__ import annotations

from collections.abc import Sequence

import coal
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.collision_geometry import CollisionGeometry, Shape
from pipeline.kinematics import Vector, matrix, vector
from pipeline.params import RobotParams, TaskParams
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import ModelError, RobotModel

Array = NDArray[np.float64]
POINT_SPACING_M = 0.1
"""Largest distance between two points along a shape, m."""
Numbers = tuple[Array, Array, Array, float, float]
"""Orientation and centre in the shape's own frame, half edges, and radii of disc and ball, m."""


def collision_geometry(robot: RobotParams, task: TaskParams) -> CollisionGeometry:
    """Build the shapes and the pairs that `CollisionChecker` checks.

    Args:
        robot: description files, joints, base link and tip link.
        task: the object, the table and the scene.

    Raises:
        ModelError: the description files cannot be read, or a checked shape moves with a joint
            that is not part of the chain to the TCP.
    """
    checker = CollisionChecker(robot, task)
    model, scene = checker.model, checker.model.geometry
    pairs = [(pair.first, pair.second) for pair in scene.collisionPairs]
    used = sorted({index for pair in pairs for index in pair})
    frames = _frames(model)
    shapes = []
    for index in used:
        geometry = scene.geometryObjects[index]
        if geometry.parentJoint not in frames:
            raise ModelError(
                f"{robot.urdf}: {geometry.name} moves with joint "
                f"{model.pinocchio.names[geometry.parentJoint]!r}, which does not carry the TCP, "
                "so its clearance cannot be computed from the chain"
            )
        number, to_frame = frames[geometry.parentJoint]
        # Scene and object have no frame. A link's shape is named after the link and a number, so
        # the name of its frame is used.
        fixed = geometry.parentFrame == 0
        name = geometry.name if fixed else model.pinocchio.frames[geometry.parentFrame].name
        shapes.append(_shape(str(name), number, to_frame, geometry))
    size = [sum(shape.half_m) + shape.disc_m + shape.ball_m for shape in shapes]
    place = {index: position for position, index in enumerate(used)}
    ordered = [sorted((place[a], place[b]), key=lambda i: size[i]) for a, b in pairs]
    named = [i for i, shape in enumerate(shapes) if (shape.name, shape.joints) == (task.object, 0)]
    return CollisionGeometry(
        tuple(shapes),
        tuple((first, second) for first, second in ordered),
        named[-1] if named else None,
    )


def body_points(shapes: Sequence[Shape]) -> tuple[tuple[int, Vector], ...]:
    """Choose points on the links that move, along the longest axis of each shape.

    Args:
        shapes: of links, scene and object.

    Returns:
        Number of joints before the frame that a point is fixed to, and its position there, m.
    """
    points = []
    for shape in shapes:
        if not shape.joints:
            continue
        half = np.array(shape.half_m)
        axis = int(half.argmax())
        number = 1 + round(2 * half[axis] / POINT_SPACING_M)
        for place in np.linspace(-half[axis], half[axis], number) if number > 1 else [0.0]:
            offset = place * np.array(shape.rotation)[:, axis]
            points.append((shape.joints, vector(np.array(shape.centre) + offset)))
    return tuple(points)


def _frames(model: RobotModel) -> dict[int, tuple[int, pin.SE3]]:
    """By pinocchio joint: number of chain joints up to it, and the transform to the chain frame."""
    tcp = model.pinocchio.frames[model.tcp_frame]
    chain = list(model.pinocchio.supports[tcp.parentJoint])[1:]
    frames = {0: (0, model.world_base.inverse())}
    return frames | {j: (number, pin.SE3.Identity()) for number, j in enumerate(chain, start=1)}


def _shape(name: str, joints: int, to_frame: pin.SE3, geometry: pin.GeometryObject) -> Shape:
    turn, centre, half, disc, ball = cover(geometry.geometry)
    placement = to_frame * geometry.placement * pin.SE3(turn, centre)
    return Shape(
        name, joints, matrix(placement.rotation), vector(placement.translation),
        vector(half), disc, ball,
    )  # fmt: skip


def cover(shape: coal.CollisionGeometry) -> Numbers:
    """Enclose a collision shape in a simple body.

    Args:
        shape: shape of a URDF; pinocchio has already scaled it.

    Returns:
        Orientation (3, 3) and centre (3,) in the shape's own frame, half edges (3,), radii of disc
        and ball, m.
    """
    eye, zero = np.eye(3), np.zeros(3)
    if isinstance(shape, coal.Box):
        return eye, zero, np.asarray(shape.halfSide, float), 0.0, 0.0
    if isinstance(shape, coal.Sphere):
        return eye, zero, zero, 0.0, float(shape.radius)
    if isinstance(shape, coal.Capsule):
        return eye, zero, np.array([0.0, 0.0, shape.halfLength]), 0.0, float(shape.radius)
    if isinstance(shape, coal.Cylinder):
        return eye, zero, np.array([0.0, 0.0, shape.halfLength]), float(shape.radius), 0.0
    return _box_around(shape)


def _box_around(shape: coal.CollisionGeometry) -> Numbers:
    """Return the smaller of two boxes: along the shape's own axes or along its principal axes."""
    shape.computeLocalAABB()
    box = shape.aabb_local
    low, high = np.asarray(box.min_, float), np.asarray(box.max_, float)
    boxes = [(np.eye(3), (low + high) / 2, (high - low) / 2)]
    points = _vertices(shape)
    if len(points) > 3:
        axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2].T
        axes[:, 2] *= np.sign(np.linalg.det(axes))
        inside = points @ axes
        low, high = inside.min(axis=0), inside.max(axis=0)
        boxes.append((axes, axes @ ((low + high) / 2), (high - low) / 2))
    turn, centre, half = min(boxes, key=lambda box: float(np.prod(box[2] + 1e-6)))
    return turn, centre, half, 0.0, 0.0


def _vertices(shape: coal.CollisionGeometry) -> Array:
    if isinstance(shape, coal.BVHModelBase):
        return np.array(shape.vertices(), float).reshape(-1, 3)
    if isinstance(shape, coal.ConvexBase):
        return np.array([shape.point(i) for i in range(shape.num_points)], float).reshape(-1, 3)
    return np.zeros((0, 3))
