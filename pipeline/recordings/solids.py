"""Turns shapes of ROS messages into obstacles in the shape's own frame. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import box, cylinder, sphere

Array = NDArray[np.float64]

# Types of shape_msgs/msg/SolidPrimitive: name and the number of its sizes.
_KINDS = {1: ("box", 3), 2: ("sphere", 1), 3: ("cylinder", 2), 4: ("cone", 2)}
_PRISM = 5
_ORIGIN = np.zeros(3)
# Added to edges when volumes are compared, so that flat boxes compare by their areas, m.
_THIN_M = 1e-6
# The box along the principal axes must be this much smaller: rounding may not decide.
_CLEARLY = 0.999


class InvalidShapeError(ValueError):
    """The numbers of a shape are unusable."""


class UnsupportedShapeError(ValueError):
    """A shape cannot be expressed as an obstacle."""


def primitive_obstacle(primitive: Any) -> Array:
    """The obstacle of a shape_msgs/msg/SolidPrimitive; a cone is replaced by its cylinder.

    Args:
        primitive: as decoded.

    Returns:
        A row of `pipeline.obstacles` in the shape's own frame. Shape (12,).

    Raises:
        InvalidShapeError: it has too few sizes, or one that is not above 0.
        UnsupportedShapeError: it is a prism or of an unknown type.
    """
    kind = int(primitive.type)
    if kind not in _KINDS:
        raise UnsupportedShapeError("prism" if kind == _PRISM else f"primitive of type {kind}")
    name, number = _KINDS[kind]
    sizes = np.asarray(primitive.dimensions, np.float64)
    if len(sizes) < number or not (np.isfinite(sizes[:number]) & (sizes[:number] > 0)).all():
        raise InvalidShapeError(f"{name} of dimensions {sizes.tolist()}")
    if name == "box":
        return box(_ORIGIN, sizes[:3])
    if name == "sphere":
        return sphere(_ORIGIN, float(sizes[0]))
    return cylinder(_ORIGIN, radius_m=float(sizes[1]), length_m=float(sizes[0]))


def mesh_obstacle(mesh: Any) -> Array:
    """The box around a shape_msgs/msg/Mesh.

    Args:
        mesh: as decoded.

    Returns:
        A row of `pipeline.obstacles` in the mesh's own frame. Shape (12,).

    Raises:
        InvalidShapeError: it has no triangles, or a vertex that is missing or not finite.
    """
    vertices = np.array([[point.x, point.y, point.z] for point in mesh.vertices], np.float64)
    corners = [np.asarray(triangle.vertex_indices, np.int64) for triangle in mesh.triangles]
    if not corners:
        raise InvalidShapeError(f"mesh of {len(vertices)} vertices without triangles")
    used = np.unique(np.concatenate(corners))
    if used[-1] >= len(vertices):
        raise InvalidShapeError(f"mesh of {len(vertices)} vertices that names vertex {used[-1]}")
    if not np.isfinite(vertices[used]).all():
        raise InvalidShapeError("mesh with a vertex that is not finite")
    return box_around(vertices[used])


def box_around(points: Array) -> Array:
    """The smaller of two boxes around points: along the frame's axes or their principal axes.

    Args:
        points: m. Shape (N, 3), N at least 1.

    Returns:
        A row of `pipeline.obstacles`. Shape (12,).
    """
    from scipy.spatial.transform import Rotation  # few recordings hold meshes

    middle = points.mean(axis=0)
    axes = np.linalg.eigh((points - middle).T @ (points - middle))[1]
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    aligned, principal = (_extent(points, turn) for turn in (np.eye(3), axes))
    if not principal[0] < _CLEARLY * aligned[0]:
        return box(aligned[1], aligned[2])
    return box(axes @ principal[1], principal[2], Rotation.from_matrix(axes).as_quat())


def _extent(points: Array, axes: Array) -> tuple[float, Array, Array]:
    """Volume, centre and edges of the box around points along the columns of a rotation."""
    inside = points @ axes
    low, high = inside.min(axis=0), inside.max(axis=0)
    return float(np.prod(high - low + _THIN_M)), (low + high) / 2, high - low
