"""Describes collision geometry as plain numbers: shapes and the pairs that must not touch.

The robot model builds it from the URDF, the SRDF and the task. A checkpoint stores it, and the
runtime's guard computes clearances from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError
from pipeline.kinematics import Matrix, Vector, matrix, vector


class CollisionGeometryError(PipelineError):
    """Collision shapes are missing or malformed."""


@dataclass(frozen=True)
class Shape:
    """A convex, centrally symmetric body: a box grown by a disc in its x-y plane, then by a ball.

    A cylinder is a line along z grown by a disc; a capsule is a line along z grown by a ball.
    """

    name: str
    """Name of the link, table, obstacle or object that the shape belongs to."""
    joints: int
    """Number of joints of the chain before the frame that the shape is fixed to; 0 is the base."""
    rotation: Matrix
    """Orientation in that frame. (3, 3)."""
    centre: Vector
    """Centre in that frame, m. (3,)."""
    half_m: Vector
    """Half the edges of the box, m. (3,)."""
    disc_m: float
    """Radius of the disc, m."""
    ball_m: float
    """Radius of the ball, m."""


@dataclass(frozen=True)
class CollisionGeometry:
    """Collision shapes, and the pairs of them that must not touch."""

    shapes: tuple[Shape, ...]
    pairs: tuple[tuple[int, int], ...]
    """Indices of shapes; the second shape of a pair is the larger one."""
    object: int | None
    """Index of the object's shape; observations give its pose, and its axis is the shape's z."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to values that JSON can hold."""
        return {
            "shapes": [
                {
                    "name": shape.name,
                    "joints": shape.joints,
                    "rotation": [list(row) for row in shape.rotation],
                    "centre": list(shape.centre),
                    "half_m": list(shape.half_m),
                    "disc_m": shape.disc_m,
                    "ball_m": shape.ball_m,
                }
                for shape in self.shapes
            ],
            "pairs": [list(pair) for pair in self.pairs],
            "object": self.object,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CollisionGeometry:
        """Read the geometry from an artefact (see `to_dict`).

        Raises:
            CollisionGeometryError: a key is missing or has the wrong type, or a pair refers to a
                shape that does not exist.
        """
        try:
            shapes = tuple(
                Shape(
                    str(shape["name"]),
                    int(shape["joints"]),
                    matrix(shape["rotation"]),
                    vector(shape["centre"]),
                    vector(shape["half_m"]),
                    float(shape["disc_m"]),
                    float(shape["ball_m"]),
                )
                for shape in data["shapes"]
            )
            pairs = tuple((int(first), int(second)) for first, second in data["pairs"])
            index = None if data["object"] is None else int(data["object"])
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(data, repr(error)) from error
        known = range(len(shapes))
        wrong = [i for pair in pairs for i in pair if i not in known]
        if wrong or not (index is None or index in known):
            raise _broken(data, f"shape {wrong or index} of {len(shapes)}")
        return cls(shapes, pairs, index)


def _broken(data: Any, reason: str) -> CollisionGeometryError:
    return CollisionGeometryError(
        f"no collision geometry in {str(data)[:200]}: {reason}; the artefact was written by "
        "another version of the pipeline; create it again"
    )
