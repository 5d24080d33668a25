"""What the network sees of obstacles: exact distances, from points that move with the arm."""

from __future__ import annotations

import coal
import numpy as np
import pinocchio as pin
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kinematics import Geometry
from pipeline.layout import Layout
from pipeline.obstacles import box, cylinder, distances, pad, sphere
from pipeline.params import Params
from pipeline.policy.obstacle_features import (
    GRID_SIGHT_M,
    SIGHT_M,
    ObstacleFeatures,
    clearance,
    nearest,
)
from pipeline.robot.arrangement import collision_shape
from pipeline.robot.model import RobotModel
from tests.fixtures.policy import SLOTS, make_geometry, random_obstacles

Array = np.ndarray


@pytest.fixture(scope="module")
def seen(params: Params) -> Geometry:
    return make_geometry(params, SLOTS)


@pytest.fixture(scope="module")
def features(seen: Geometry, layout: Layout) -> ObstacleFeatures:
    assert seen.obstacles is not None
    return ObstacleFeatures(seen.chain, layout.joints, seen.obstacles)


def _compute(features: ObstacleFeatures, joint_pos: Array, obstacles: Array) -> Array:
    """Features of one pose of the arm. (F,)."""
    rows = torch.from_numpy(pad(obstacles, SLOTS).reshape(1, -1)).float()
    found: Array = features(torch.from_numpy(joint_pos[None]).float(), rows)[0].numpy()
    return found


_numbers = st.floats(-1.0, 1.0, width=32)
_sizes = st.floats(0.01, 0.5)


@st.composite
def _obstacle(draw: st.DrawFn) -> Array:
    """A turned box, cylinder or sphere that touches the unit cube. (12,)."""
    turn = np.array([draw(_numbers) for _ in range(4)])
    turn = turn / np.linalg.norm(turn) if np.linalg.norm(turn) > 0.1 else np.array([0, 0, 0, 1.0])
    centre, size = [draw(_numbers) for _ in range(3)], [draw(_sizes) for _ in range(3)]
    kinds = box(centre, size, turn), cylinder(centre, *size[:2], turn), sphere(centre, size[0])
    return draw(st.sampled_from(kinds))


def _exact(point: Array, obstacle: Array) -> float:
    """Signed distance by coal."""
    turn = pin.Quaternion(obstacle[3:7]).toRotationMatrix()
    place = coal.Transform3s(turn, obstacle[:3])
    result = coal.DistanceResult()
    speck = coal.Transform3s(np.eye(3), point)
    return float(
        coal.distance(
            coal.Sphere(0.0), speck, collision_shape(obstacle), place,
            coal.DistanceRequest(), result,
        )
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(_obstacle(), st.tuples(*[st.floats(-1.5, 1.5)] * 3))
def test_distances_are_those_of_coal(obstacle: Array, point: tuple[float, float, float]) -> None:
    there = np.array(point)
    (found,) = distances(there[None], obstacle[None])[0]
    exact = _exact(there, obstacle)
    if exact > 0:
        assert found == pytest.approx(exact, abs=1e-5)
    else:
        # Inside a body coal's search is approximate; the sign is what counts.
        assert found < 1e-5
    rows = torch.from_numpy(obstacle.reshape(12, 1, 1))
    turn = torch.from_numpy(pin.Quaternion(obstacle[3:7]).toRotationMatrix()[..., None, None])
    place = torch.from_numpy(there.reshape(3, 1, 1))
    distance, away = clearance(place, rows, turn)
    assert float(distance) == pytest.approx(found, abs=1e-9)
    assert float(nearest(place, rows, turn)) == pytest.approx(found, abs=1e-9)
    if found + obstacle[11] > 1e-3:  # outside the body without its ball
        direction = away.numpy().ravel()
        assert np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-3)
        # One step along it leads away by as much.
        further = distances((there + 1e-4 * direction)[None], obstacle[None])[0, 0]
        assert further - found == pytest.approx(1e-4, rel=1e-3)


def test_points_move_with_the_links(
    params: Params, seen: Geometry, features: ObstacleFeatures, rng: np.random.Generator
) -> None:
    robot = RobotModel.from_params(params.robot)
    assert seen.obstacles is not None
    data = robot.pinocchio.createData()
    chain = [robot.pinocchio.getJointId(joint.name) for joint in seen.chain.joints]
    for joint_pos in rng.uniform(robot.lower, robot.upper, (5, 6)):
        found = features.points(torch.from_numpy(joint_pos[:, None]).float())[..., 0].T.numpy()
        pin.forwardKinematics(robot.pinocchio, data, robot.configuration(joint_pos))
        to_base = robot.world_base.inverse()
        expected = [
            (to_base * data.oMi[chain[joints - 1]]).act(np.array(place))
            for joints, place in sorted(seen.obstacles.points, key=lambda point: point[0])
        ]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_features_are_the_clearances_of_arm_and_grid(
    features: ObstacleFeatures, rng: np.random.Generator
) -> None:
    joint_pos, rows = rng.uniform(-1, 1, 6), random_obstacles(rng, 3)
    found = _compute(features, joint_pos, rows)
    assert found.shape == (features.num_features,)
    assert np.abs(found).max() <= 1
    points = features.points(torch.from_numpy(joint_pos[:, None]).float())[..., 0].T.numpy()
    body = np.clip(distances(points, rows).min(axis=1) / SIGHT_M, -1, 1)
    np.testing.assert_allclose(found[: features.points.number], body, atol=1e-5)
    grid = np.clip(distances(features.grid.numpy().T, rows).min(axis=1) / GRID_SIGHT_M, -1, 1)
    np.testing.assert_allclose(found[4 * features.points.number :], grid, atol=1e-5)


def test_without_obstacles_everything_is_clear(features: ObstacleFeatures) -> None:
    found = _compute(features, np.zeros(6), np.zeros((0, 12)))
    number = features.points.number
    np.testing.assert_array_equal(found[number : 4 * number], 0.0)
    np.testing.assert_array_equal(np.delete(found, np.s_[number : 4 * number]), 1.0)


def test_neither_order_nor_slots_matter(
    features: ObstacleFeatures, rng: np.random.Generator
) -> None:
    rows = random_obstacles(rng, SLOTS)
    expected = _compute(features, np.zeros(6), rows)
    np.testing.assert_allclose(
        _compute(features, np.zeros(6), rows[[2, 0, 3, 1]]), expected, atol=1e-6
    )
    few = _compute(features, np.zeros(6), rows[:2])
    np.testing.assert_allclose(
        _compute(features, np.zeros(6), pad(rows[:2], SLOTS)[[3, 1, 2, 0]]), few, atol=1e-6
    )
    assert np.abs(few - expected).max() > 0.01


def test_bodies_without_size_and_points_inside_them_give_finite_features(
    features: ObstacleFeatures,
) -> None:
    joint_pos = torch.zeros(6, 1)
    points = features.points(joint_pos)[..., 0].T.numpy()
    rows = np.stack([sphere(points[0], 0.1), box(points[1], [0.1] * 3), box(points[2], [0] * 3)])
    found = _compute(features, np.zeros(6), rows)
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(-0.1 / SIGHT_M, abs=1e-5)


def test_obstacles_fade_near_the_goal(features: ObstacleFeatures, params: Params) -> None:
    rows = pad(random_obstacles(np.random.default_rng(0), 3), SLOTS).reshape(1, -1)
    empty = pad(np.zeros((0, 12)), SLOTS).reshape(1, -1)
    joints = torch.from_numpy(RobotModel.from_params(params.robot).home[None]).float()
    full, none = (features(joints, torch.from_numpy(r).float())[0] for r in (rows, empty))
    points = features.points.number
    for away_m in (0.0, 0.01, 0.1, 0.5):
        goal = torch.tensor([[0.6, 0.0, 0.8]]) * away_m
        seen = features(joints, torch.from_numpy(rows).float(), goal)[0]
        arm, grid = away_m / (away_m + 0.02), away_m / (away_m + 0.1)
        share = torch.full_like(full, arm)
        share[4 * points :] = grid
        torch.testing.assert_close(seen, none + share * (full - none))
    assert (full - none).abs().max() > 0.1
