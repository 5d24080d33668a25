from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.params import RobotParams
from pipeline.robot.ik import InverseKinematics
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]
DOWN = np.array([0.0, 0.0, -1.0])
CAP = np.array([0.45, 0.05, 0.3])


def _free(joint_pos: Array) -> bool:
    return True


def _miss(model: RobotModel, q: Array, position: Array, direction: Array) -> tuple[float, float]:
    pose = model.tcp(q)
    cross = np.cross(pose.rotation[:, 2], direction)
    return float(np.linalg.norm(pose.translation - position)), float(np.linalg.norm(cross))


def test_solutions_reach_the_goal_within_the_limits(arm: RobotModel) -> None:
    rng = np.random.default_rng(0)
    ik = InverseKinematics(arm, 8)
    solved = 0
    for q in rng.uniform(arm.lower, arm.upper, (30, 6)):
        goal = arm.tcp(q)
        position, direction = goal.translation.copy(), goal.rotation[:, 2].copy()
        solution = ik.solve(position, direction, np.clip(q + 0.1, arm.lower, arm.upper))
        if solution is None:
            continue
        solved += 1
        assert max(_miss(arm, solution, position, direction)) < 1e-5
        assert (solution >= arm.lower).all()
        assert (solution <= arm.upper).all()
    assert solved >= 25


def test_a_joint_that_moves_nothing_stays_where_it_was(arm: RobotModel) -> None:
    start = arm.home.copy()
    start[5] = 0.7
    solution = InverseKinematics(arm, 1).solve(CAP, DOWN, start)
    assert solution is not None
    assert solution[5] == pytest.approx(0.7, abs=1e-9)


def test_nearest_depends_only_on_the_goal_and_changes_smoothly(arm: RobotModel) -> None:
    rng = np.random.default_rng(1)
    one, other = InverseKinematics(arm, 8), InverseKinematics(arm, 8)
    for _ in range(20):
        cap = CAP + rng.uniform(-0.1, 0.1, 3)
        first, _ = one.nearest(cap, DOWN, _free)
        again, _ = other.nearest(cap, DOWN, _free)
        beside, _ = one.nearest(cap + 1e-3 * DOWN, DOWN, _free)
        assert first is not None
        assert again is not None
        assert beside is not None
        assert np.array_equal(first, again)
        assert np.linalg.norm(beside - first) < 0.03


def test_nearest_takes_another_branch_where_the_first_collides(arm: RobotModel) -> None:
    ik = InverseKinematics(arm, 16)
    first, _ = ik.nearest(CAP, DOWN, _free)
    assert first is not None

    def not_first(q: Array) -> bool:
        return bool(np.linalg.norm(q - first) > 0.1)

    second, failure = ik.nearest(CAP, DOWN, not_first)
    assert failure is None
    assert second is not None
    assert max(_miss(arm, second, CAP, DOWN)) < 1e-5
    # The free yaw of another branch moves towards home as well.
    assert np.linalg.norm(second - arm.home) > np.linalg.norm(first - arm.home)
    assert second[5] == pytest.approx(arm.home[5], abs=1e-6)


def test_random_varies_branch_and_yaw(arm: RobotModel) -> None:
    ik, rng = InverseKinematics(arm, 8), np.random.default_rng(2)
    aslant = np.array([0.0, 0.4, -1.0]) / np.hypot(0.4, 1.0)
    solutions = [ik.random(CAP, aslant, _free, rng)[0] for _ in range(20)]
    found = np.array([q for q in solutions if q is not None])
    assert len(found) >= 15
    assert np.ptp(found[:, 5]) > 3.0
    assert np.ptp(found[:, 3]) > 1.0


@pytest.mark.parametrize("kind", ["nearest", "random"])
def test_failures_give_their_reason(arm: RobotModel, kind: str) -> None:
    ik, rng = InverseKinematics(arm, 8), np.random.default_rng(0)

    def solve(position: Array, free: bool) -> tuple[Array | None, str | None]:
        if kind == "nearest":
            return ik.nearest(position, DOWN, lambda q: free)
        return ik.random(position, DOWN, lambda q: free, rng)

    assert solve(np.array([3.0, 0.0, 0.3]), True) == (None, "unreachable")
    assert solve(CAP, False) == (None, "goal in collision")


def test_opposite_axes_are_solved_or_rejected(arm: RobotModel) -> None:
    goal = arm.tcp(arm.home)
    up = -goal.rotation[:, 2].copy()
    found = InverseKinematics(arm, 8).nearest(np.array([0.3, 0.0, 0.6]), up, _free)
    solution = found[0]
    assert solution is None or max(_miss(arm, solution, np.array([0.3, 0, 0.6]), up)) < 1e-5


def test_another_arm_is_solved_too(crane: RobotParams) -> None:
    model = RobotModel.from_params(crane)
    ik = InverseKinematics(model, 8)
    wanted = np.array([0.4, 1.0, 0.3])
    goal = model.tcp(wanted)
    position, direction = goal.translation.copy(), goal.rotation[:, 2].copy()
    solution, _ = ik.nearest(position, direction, _free)
    assert solution is not None
    assert max(_miss(model, solution, position, direction)) < 1e-5


def test_lean_keeps_position_and_direction_within_reach(arm: RobotModel) -> None:
    solver = InverseKinematics(arm, 1)
    start = np.array([0.2, 0.3, 1.0, 0.1, 1.8, 0.0])
    tcp = arm.tcp(start)
    for height_m in (0.02, 0.05):
        goal = tcp.translation + np.array([0.0, 0.0, height_m])
        leant = solver.lean(goal, tcp.rotation[:, 2], start)
        assert leant is not None
        found = arm.tcp(leant)
        assert found.translation == pytest.approx(goal, abs=1e-5)
        assert found.rotation[:, 2] == pytest.approx(tcp.rotation[:, 2], abs=1e-3)


def test_lean_tilts_at_the_edge_of_the_reach_and_fails_beyond(arm: RobotModel) -> None:
    solver = InverseKinematics(arm, 1)
    down = np.array([0.0, 0.0, -1.0])
    # Pointing down, the wrist would have to be further away than both arm links are long.
    start = solver.solve(np.array([0.56, -0.05, 0.35]), down, arm.home)
    assert start is not None
    goal = np.array([0.56, -0.05, 0.42])
    assert solver.solve(goal, down, start) is None
    leant = solver.lean(goal, down, start)
    assert leant is not None
    found = arm.tcp(leant)
    assert found.translation == pytest.approx(goal, abs=1e-5)
    assert 1.0 < np.degrees(np.arccos(found.rotation[:, 2] @ down)) < 30.0
    assert (leant >= arm.lower).all()
    assert (leant <= arm.upper).all()
    assert solver.lean(np.array([1.5, 0.0, 0.3]), down, start) is None
