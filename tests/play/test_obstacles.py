"""Boxes of a user reach the collision checker."""

from __future__ import annotations

import numpy as np

from pipeline.params import Params
from pipeline.play.obstacles import place_boxes
from pipeline.robot.collision import CollisionChecker

AXIS = np.array([0.0, 0.0, 1.0])


def test_the_checker_knows_the_boxes(params: Params) -> None:
    checker = CollisionChecker(params.robot, params.task)
    far, home = np.array([0.5, 0.0, 0.05]), checker.model.home
    hand = checker.model.tcp(home).translation
    assert checker.touching(home, far, AXIS) is None
    box = {"centre_m": hand.tolist(), "size_m": [0.1, 0.1, 0.1], "quaternion": [0, 0, 0, 1]}
    place_boxes(checker, [box])
    touching = checker.touching(home, far, AXIS)
    assert touching is not None and touching[1] == "obstacle 1"
    place_boxes(checker, [])
    assert checker.touching(home, far, AXIS) is None
