"""Tests that paths bend around obstacles, smoothly, alike for like goals, and only where needed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.optimise import ENOUGH, PathOptimiser
from pipeline.clearance.sweep import Sweep
from pipeline.obstacles import box
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]
DISTANCE_M = 0.05
TURN = np.array([1.2, 0.0, 0.0, 0.0, 0.0, 0.0])
"""The arm turns about its base, rad."""
BELOW = np.array([0.0, 0.0, 0.04])


class Scene:
    """An arm and a box that its gripper meets half-way."""

    def __init__(self, params: Params) -> None:
        self.robot = RobotModel.from_params(params.robot)
        geometry = collision_geometry(params.robot, params.task)
        chain = kinematic_chain(self.robot)
        self.model = ClearanceModel(chain, self.robot.joints, geometry, self.robot.limits, 1)
        self.optimiser = PathOptimiser(self.model, self.robot.planning_range(), DISTANCE_M)
        half_way = self.robot.fk(self.robot.home + TURN / 2)[:3]
        self.around = self.objects(box(half_way - 2 * BELOW, (0.08, 0.08, 0.12)))
        self.path = np.stack([self.robot.home, self.robot.home + TURN])

    def objects(self, obstacle: Array) -> Objects:
        return Objects.unknown(1, obstacle[None, None])

    def distance(self, path: Array, around: Objects | None = None) -> float:
        """Smallest distance from the obstacle on the way, m."""
        around = self.around if around is None else around
        sweep, pairs = Sweep(self.model, 0.005), self.model.pairs
        near = sweep.near(path[None], around, np.full(len(pairs), 1.0))
        outside = (pairs == len(self.model.names) - 1).any(axis=1)[near.pair]
        return float(sweep.measure(path[None], around, near).distance[outside].min())


@pytest.fixture(scope="module")
def scene(params: Params) -> Scene:
    return Scene(params)


def test_a_path_through_a_box_is_bent_around_it(scene: Scene) -> None:
    bent = scene.optimiser.run(scene.path, scene.around)
    assert scene.distance(scene.path) < 0
    assert scene.distance(bent) > ENOUGH * DISTANCE_M - 0.005
    np.testing.assert_allclose(bent[[0, -1]], scene.path)
    low, high = scene.robot.planning_range()
    assert ((bent >= low) & (bent <= high)).all()


def test_a_path_with_enough_distance_is_returned_as_it_is(scene: Scene) -> None:
    away = scene.objects(box((-0.8, 0.0, 0.9), (0.1, 0.1, 0.1)))
    assert scene.optimiser.run(scene.path, away) is scene.path


def test_similar_goals_get_similar_paths(scene: Scene) -> None:
    bent = scene.optimiser.run(scene.path, scene.around)
    other = scene.path + np.array([[0.0], [0.01]])
    again = scene.optimiser.run(other, scene.around)
    assert again.shape == bent.shape
    assert np.abs(again - bent).max() < 0.05


def test_near_a_goal_beside_an_obstacle_the_path_keeps_what_the_goal_has(scene: Scene) -> None:
    end = scene.robot.fk(scene.path[-1])[:3]
    tight = scene.objects(box(end - 3 * BELOW, (0.05, 0.05, 0.04)))
    bent = scene.optimiser.run(scene.path, tight)
    np.testing.assert_allclose(bent[-1], scene.path[-1])
    assert 0.01 < scene.distance(scene.path[-1:].repeat(2, axis=0), tight) < DISTANCE_M
    assert scene.distance(bent, tight) > 0.01
    assert np.abs(np.diff(bent, n=2, axis=0)).max() < 0.1, "no kink before the goal, rad"
