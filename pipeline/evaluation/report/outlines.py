"""Converts obstacles to lines and areas for drawings."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from pipeline.evaluation.trials import Trials
from pipeline.obstacles import rotations, simple_shape
from pipeline.params import TaskParams
from pipeline.robot.arrangement import scene_obstacles

Array = NDArray[np.float64]
CORNERS = 24
"""Corners of the polygon that stands for a circle."""


def trial_obstacles(task: TaskParams, trials: Trials, trial: int) -> Array:
    """List all obstacles of one trial: those of the scene, then its own.

    Args:
        task: the scene.
        trials: N trials.
        trial: index of the trial.

    Returns:
        Shape (M, 12).
    """
    return np.concatenate([scene_obstacles(task), trials.around(trial)])


def wireframe(obstacle: Array) -> list[Array]:
    """Compute the lines that show an obstacle: its edges, or circles.

    Args:
        obstacle: shape (12,).

    Returns:
        Polylines in the base frame, m. Shape (P, 3) each.
    """
    kind, size = simple_shape(obstacle)
    angle = np.linspace(0, 2 * np.pi, CORNERS + 1)
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    if kind == "box":
        corners = size * np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
        pairs = itertools.combinations(corners, 2)
        lines = [np.stack(pair) for pair in pairs if (pair[0] != pair[1]).sum() == 1]
    elif kind == "cylinder":
        up = np.array([0.0, 0.0, size[1]])
        ends = [size[0] * circle - up, size[0] * circle + up]
        lines = [*ends, *np.stack(ends, axis=1)[: -1 : CORNERS // 4]]
    else:
        lines = [size[0] * np.roll(circle, turn, axis=1) for turn in range(3)]
    turn = rotations(obstacle[3:7])
    return [line @ turn.T + obstacle[:3] for line in lines]


def outline(obstacle: Array, right: int, up: int) -> Array:
    """Compute the area that an obstacle covers in a view along an axis of the base frame.

    Args:
        obstacle: shape (12,).
        right: axis of the base frame that points right.
        up: axis of the base frame that points up.

    Returns:
        Corners of a convex polygon, anticlockwise, m. Shape (P, 2).
    """
    points = np.unique(np.concatenate(wireframe(obstacle))[:, [right, up]].round(9), axis=0)
    corners: Array = points[ConvexHull(points).vertices]
    return corners
