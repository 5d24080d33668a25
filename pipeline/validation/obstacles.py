"""Accepts the obstacles of a recorded motion, or says why not. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS
from pipeline.recordings.recording import Obstacles
from pipeline.validation.execution import Remark
from pipeline.validation.rules import Rejected

Array = NDArray[np.float64]

_NONE = np.zeros((0, COLUMNS))
_SHAPES = "boxes, cylinders, spheres, cones and meshes"


def require_obstacles(obstacles: Obstacles | None) -> Array:
    """The obstacles as rows of `pipeline.obstacles`.

    Args:
        obstacles: as recorded; None if there are none.

    Returns:
        Shape (M, 12).

    Raises:
        Rejected: an obstacle is in an unknown frame, or its numbers are unusable.
    """
    if obstacles is None:
        return _NONE
    if obstacles.unresolved:
        what = ", ".join(obstacles.unresolved)
        raise Rejected("OBSTACLE_FRAME_UNRESOLVED", what, "frames that /tf ties to the base")
    if obstacles.invalid:
        what = ", ".join(obstacles.invalid)
        raise Rejected("OBSTACLE_INVALID", what, "finite poses and sizes above 0")
    return obstacles.rows


def obstacle_remarks(obstacles: Obstacles | None) -> list[Remark]:
    """Remarks on what cannot be expressed as an obstacle.

    Args:
        obstacles: as recorded; None if there are none.
    """
    if obstacles is None or not obstacles.unsupported:
        return []
    return [("OBSTACLE_UNSUPPORTED", ", ".join(obstacles.unsupported), _SHAPES)]
