"""Plans are accepted only if the arm can still stop behind them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.sweep import Sweep
from pipeline.obstacles import COLUMNS, box, pad
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry
from pipeline.runtime.chunking import ChunkExecutor
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.guard.plan_check import PlanCheck
from pipeline.runtime.limiter import Limiter

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


def _check(params: Params, checker: CollisionChecker) -> PlanCheck:
    robot, shapes = checker.model, collision_geometry(params.robot, params.task)
    model = ClearanceModel(kinematic_chain(robot), robot.joints, shapes, robot.limits)
    return PlanCheck(Sweep(model, 0.01), np.zeros(len(model.pairs)))


def _speeding_up(checker: CollisionChecker) -> tuple[np.ndarray, Limiter]:
    """A plan that turns the arm from home, at 2 rad/s², and the limiter. (1, K, J)."""
    plan = np.tile(checker.model.home, (1, HORIZON, 1))
    plan[0, :, 0] += (np.arange(1, HORIZON + 1) / RATE_HZ) ** 2
    limiter = Limiter(checker.model.limits, RATE_HZ)
    limiter.reset(checker.model.home[None])
    return plan, limiter


def test_what_is_checked_is_what_is_sent_to_a_plan_s_last_row(
    params: Params, checker: CollisionChecker
) -> None:
    robot, (plan, limiter) = checker.model, _speeding_up(checker)
    checked = _check(params, checker).stops(plan, np.arange(1), limiter, [HORIZON])[0, 0]
    changed = params.override("execution", mode="chunk", guard="off")
    executor = ChunkExecutor(changed.execution, robot.limits, HORIZON, RATE_HZ)
    executor.reset(robot.home[None])
    executor.add(plan)
    np.testing.assert_array_equal(checked[1 : HORIZON + 1], executor.commands(HORIZON)[0])


def test_stops_follow_a_plan_for_some_rows_and_come_to_rest(
    params: Params, checker: CollisionChecker
) -> None:
    (plan, limiter), rows = _speeding_up(checker), (0, 5, HORIZON - 1)
    motions = _check(params, checker).stops(plan, np.arange(1), limiter, rows)
    # The plan ends with 31/30 rad/s: fifteen steps of 2.0944 rad/s² at 30 Hz.
    assert motions.shape == (1, 3, HORIZON + 15 + 1, 6)
    for followed, motion in zip(rows, motions[0], strict=True):
        np.testing.assert_array_equal(motion[1 : followed + 1], plan[0, :followed])
        np.testing.assert_array_equal(motion[-1], motion[-2])


def test_a_plan_is_free_if_the_arm_can_stop_behind_it_or_before_the_next_one(
    checker: CollisionChecker, guard: Guard
) -> None:
    """The plan ends before the box, but too fast to stop there."""
    plan, limiter = _speeding_up(checker)
    objects = Objects(PEN[None], UP[None], _around(checker, 0.7)[None])
    guard.reset(1)
    for executed, free in ((8, True), (15, False), (None, False)):
        sent = guard.review(plan, limiter, objects, executed=executed)
        assert (sent is plan) == free, executed


def test_the_guard_sees_the_last_of_more_obstacles_than_before(
    checker: CollisionChecker, guard: Guard
) -> None:
    plan, limiter = _speeding_up(checker)
    guard.reset(1)
    for number in (1, COLUMNS, COLUMNS + 1):
        obstacles = pad(np.zeros((0, COLUMNS)), number)
        obstacles[-1] = _around(checker, 0.7)
        guard.review(plan, limiter, Objects(PEN[None], UP[None], obstacles[None]))
        assert guard.report().last[0].second == f"obstacle {number}"


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
