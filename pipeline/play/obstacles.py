"""Passes the boxes that a user adds to the policy with its guard, and to the collision checker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import obstacles
from pipeline.robot.collision import CollisionChecker

Boxes = Sequence[Mapping[str, Any]]
"""Boxes as `pipeline.obstacles.parse` takes them: centre_m, size_m and quaternion (xyzw)."""


def observe_boxes(observation: Mapping[str, Any], boxes: Boxes) -> dict[str, Any]:
    """Add boxes to what `Session.act` takes.

    Args:
        observation: the other values.
        boxes: the boxes.
    """
    return {**observation, "obstacles": list(boxes)}


def place_boxes(checker: CollisionChecker, boxes: Boxes) -> None:
    """Let a collision checker know the boxes.

    Args:
        checker: the checker.
        boxes: the boxes.
    """
    checker.place_obstacles(obstacles.parse(boxes))
