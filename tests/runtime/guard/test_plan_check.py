"""Plans are accepted only if the arm can still stop behind them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clearance.objects import Objects
from pipeline.obstacles import box
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry
from pipeline.runtime.chunking import ChunkExecutor
from pipeline.runtime.guard.guard import Guard

RATE_HZ, HORIZON, ROBOTS, CHUNKS = 30.0, 16, 8, 12
PEN, UP = np.array([0.45, 0.0, 0.1]), np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def checker(params: Params) -> CollisionChecker:
    return CollisionChecker(params.robot, params.task)


@pytest.fixture
def guard(params: Params, checker: CollisionChecker) -> Guard:
    robot = checker.model
    shapes = collision_geometry(params.robot, params.task)
    execution = params.override("execution", guard="repair", guard_samples=0).execution
    return Guard(execution, kinematic_chain(robot), robot.joints, shapes, robot.limits)


def _executor(params: Params, checker: CollisionChecker, guard: Guard) -> ChunkExecutor:
    return ChunkExecutor(params.execution, checker.model.limits, HORIZON, RATE_HZ, guard=guard)


def _around(checker: CollisionChecker, angle: float) -> np.ndarray:
    """A box beside the arm, where the TCP is after the first joint has turned. (1, 12)."""
    pose = checker.model.home.copy()
    pose[0] += angle
    place = checker.model.tcp(pose).translation
    return box(place, [0.12, 0.12, 0.3])[None]


def test_an_arm_at_full_speed_brakes_before_a_box_that_its_plan_does_not_reach(
    params: Params, checker: CollisionChecker, guard: Guard
) -> None:
    obstacle, home = _around(checker, 1.6), checker.model.home
    objects = Objects(PEN[None], UP[None], obstacle[None])
    executor = _executor(params, checker, guard)
    executor.reset(home[None])
    sent = [home[None]]
    for chunk in range(CHUNKS):
        # Two rad/s towards the box from the present command, and for ever.
        ahead = sent[-1][-1, 0] + 2.0 * np.arange(1, HORIZON + 1) / RATE_HZ
        plan = np.tile(home, (1, HORIZON, 1))
        plan[0, :, 0] = ahead
        executor.add(plan, objects=objects)
        sent.append(executor.commands(int(executor.steps_left[0]))[0])
        assert chunk or guard.report().last[0].verdict == "free"
    motion = np.concatenate(sent)
    checker.place_obstacles(obstacle)
    assert checker.first_contact(motion, PEN, UP) is None
    assert guard.report().total()["held"] > 0  # it slowed down before it went round the box


def test_no_sequence_of_plans_drives_the_arm_into_anything(
    params: Params, checker: CollisionChecker, guard: Guard
) -> None:
    """Each robot is sent to random poses, many behind obstacles, and to others on its way."""
    rng, home = np.random.default_rng(1), checker.model.home
    robots = np.arange(ROBOTS)
    obstacles = np.concatenate(
        [[_around(checker, rng.uniform(0.7, 2.0)), _around(checker, -rng.uniform(0.7, 2.0))]
         for _ in robots]
    ).reshape(ROBOTS, 2, 12)  # fmt: skip
    objects = Objects(np.tile(PEN, (ROBOTS, 1)), np.tile(UP, (ROBOTS, 1)), obstacles)
    executor = _executor(params, checker, guard)
    start = np.tile(home, (ROBOTS, 1))
    executor.reset(start)
    sent = [start[:, None]]
    for _ in range(CHUNKS):
        goal = home + rng.uniform(-2.2, 2.2, (ROBOTS, 6)) * [1, 0.3, 0.3, 0.5, 0.3, 0.5]
        share = np.linspace(1 / HORIZON, 1, HORIZON)[None, :, None]
        now = sent[-1][:, -1:]
        executor.add(now + share * (goal[:, None] - now), objects=objects)
        sent.append(executor.commands(int(executor.steps_left[0])))
    motion = np.concatenate(sent, axis=1)
    assert guard.report().total()["held"] > 0
    for robot in robots:
        checker.place_obstacles(obstacles[robot])
        assert checker.first_contact(motion[robot], PEN, UP) is None
