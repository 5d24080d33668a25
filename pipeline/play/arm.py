"""The arm's shapes as its URDF describes them, and where they are. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

import coal
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.params import RobotParams
from pipeline.robot.description import urdf_text
from pipeline.robot.model import RobotModel, load_urdf

Array = NDArray[np.float64]
GREY = (180, 186, 194)
"""Colour of a shape for which the URDF gives none, RGB."""


@dataclass(frozen=True)
class Shape:
    """One box, cylinder, sphere or mesh of a link."""

    link: str
    """Name of the link, as the collision checker reports it."""
    body: int
    """Index of the moving body that carries the shape."""
    pose: Array
    """Placement on the body: m and quaternion wxyz. Shape (7,)."""
    size: Array
    """Edges of a box (3,), radius and length of a cylinder (2,), radius of a sphere (1,), m; empty
    for a mesh."""
    vertices: Array
    """Vertices of a mesh, m, shape (V, 3); empty for other shapes."""
    faces: NDArray[np.uint32]
    """Triangles of a mesh as indices of vertices, shape (F, 3); empty for other shapes."""
    colour: tuple[int, int, int]
    """RGB, 0 to 255."""


def obstacle_shape(name: str, row: Array, colour: tuple[int, int, int]) -> Shape:
    """Describe an obstacle: a box, a cylinder or a sphere.

    Args:
        name: name of the obstacle.
        row: see `pipeline.obstacles`. Shape (12,).
        colour: RGB, 0 to 255.
    """
    pose = np.concatenate([row[:3], np.roll(row[3:7], 1)])
    if row[11] > 0:
        size = row[11:]
    elif row[10] > 0:
        size = np.array([row[10], 2 * row[9]])
    else:
        size = 2 * row[7:10]
    return Shape(name, 0, pose, size, np.zeros((0, 3)), np.zeros((0, 3), np.uint32), colour)


class ArmShapes:
    """The shapes of an arm. B is the number of bodies: the base and one for each joint."""

    def __init__(self, robot: RobotParams) -> None:
        """Read the URDF: its visual shapes, or its collision shapes if it has no visual ones.

        Args:
            robot: description file and joints.

        Raises:
            ModelError: the URDF is missing or unreadable.
        """
        full, text = load_urdf(robot.urdf), urdf_text(robot.urdf)
        visual = pin.buildGeomFromUrdfString(full, text, pin.GeometryType.VISUAL)
        if not len(visual.geometryObjects):
            visual = pin.buildGeomFromUrdfString(full, text, pin.GeometryType.COLLISION)
        self.model = RobotModel(robot, full, visual)
        self._base = self.model.world_base.inverse()
        frames = self.model.pinocchio.frames
        self.shapes = tuple(
            _shape(item, str(frames[item.parentFrame].name))
            for item in self.model.geometry.geometryObjects
        )

    def poses(self, joint_pos: Array) -> Array:
        """Compute the poses of the bodies in the base frame.

        Args:
            joint_pos: rad. Shape (J,).

        Returns:
            m and quaternion wxyz. Shape (B, 7).
        """
        model, data = self.model.pinocchio, self.model.data
        pin.forwardKinematics(model, data, self.model.configuration(joint_pos))
        return np.stack([_pose(self._base * placement) for placement in data.oMi])


def _shape(item: pin.GeometryObject, link: str) -> Shape:
    shape = item.geometry
    size, vertices, faces = np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3), np.uint32)
    if isinstance(shape, coal.Box):
        size = 2 * np.asarray(shape.halfSide).reshape(3)
    elif isinstance(shape, coal.Cylinder):
        size = np.array([shape.radius, 2 * shape.halfLength])
    elif isinstance(shape, coal.Sphere):
        size = np.array([shape.radius])
    elif isinstance(shape, coal.BVHModelBase):
        vertices = np.array(shape.vertices())
        triangles = [shape.tri_indices(index) for index in range(shape.num_tris)]
        faces = np.array([[t[0], t[1], t[2]] for t in triangles], np.uint32).reshape(-1, 3)
    rgb = np.round(np.asarray(item.meshColor).reshape(-1)[:3] * 255).astype(int)
    colour = (int(rgb[0]), int(rgb[1]), int(rgb[2])) if item.overrideMaterial else GREY
    return Shape(
        link, int(item.parentJoint), _pose(item.placement), size, vertices, faces, colour
    )  # fmt: skip


def _pose(placement: pin.SE3) -> Array:
    x, y, z, w = pin.Quaternion(placement.rotation).coeffs()
    return np.array([*placement.translation, w, x, y, z])
