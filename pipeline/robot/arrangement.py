"""Draws objects and arrangements, lists a scene's obstacles, and converts them to shapes."""

from __future__ import annotations

from collections.abc import Callable

import coal
import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS, Array, box, simple_shape
from pipeline.params import TaskParams

Rows = NDArray[np.float64]
TRIES = 30
"""Draws of one obstacle; if none is allowed, the arrangement has one obstacle less."""


def scene_obstacles(task: TaskParams) -> Rows:
    """List the boxes of the task's scene.

    Args:
        task: section task.

    Returns:
        Obstacles in the base frame. Shape (M, 12).
    """
    rows = [box(each.centre_m, each.size_m) for each in task.scenes[task.scene]]
    return np.array(rows).reshape(-1, COLUMNS)


def sample_object(task: TaskParams, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Draw a pose of the object: its cap uniform in the task's box, its tilt uniform.

    Args:
        task: box, largest tilt and length.
        rng: draws cap, tilt and azimuth.

    Returns:
        Centre of the object, m, base frame, shape (3,), and its unit axis towards the cap,
        shape (3,).
    """
    cap = rng.uniform(task.cap_min_m, task.cap_max_m)
    tilt = np.radians(rng.uniform(0.0, task.tilt_max_deg))
    azimuth = rng.uniform(-np.pi, np.pi)
    axis = np.array([np.sin(tilt) * np.cos(azimuth), np.sin(tilt) * np.sin(azimuth), np.cos(tilt)])
    return cap - axis * task.object_length_m / 2, axis


def draw_arrangement(
    task: TaskParams, rng: np.random.Generator, is_allowed: Callable[[Rows], bool]
) -> Rows:
    """Draw boxes with uniform number, centre, size and yaw.

    Args:
        task: section task, with the distribution.
        rng: draws everything.
        is_allowed: whether an obstacle, shape (1, 12), may stand there.

    Returns:
        Obstacles in the base frame. Shape (M, 12).
    """
    drawn = task.arrangement
    number = int(rng.integers(drawn.number[0], drawn.number[1] + 1))
    rows = np.zeros((0, COLUMNS))
    for _ in range(number):
        for _ in range(TRIES):
            yaw = rng.uniform(-np.pi, np.pi) / 2
            turn = (0.0, 0.0, np.sin(yaw), np.cos(yaw))
            size = rng.uniform(drawn.size_min_m, drawn.size_max_m)
            row = box(rng.uniform(drawn.region_min_m, drawn.region_max_m), size, turn)[None]
            if is_allowed(row):
                rows = np.concatenate([rows, row])
                break
    return rows


def collision_shape(row: Array, clearance_m: float = 0.0) -> coal.CollisionGeometry:
    """Convert one obstacle to a shape for collision checks.

    Args:
        row: an obstacle. Shape (12,).
        clearance_m: length added on every side, m.

    Returns:
        A box, cylinder or sphere. Any other body is enclosed in a box.
    """
    kind, size = simple_shape(row)
    grown = size + clearance_m
    if kind == "cylinder":
        return coal.Cylinder(grown[0], 2 * grown[1])
    if kind == "sphere":
        return coal.Sphere(grown[0])
    return coal.Box(*(2 * grown))
