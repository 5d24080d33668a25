"""Tests that repair moves plans far enough and within the joints' acceleration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.sweep import Sweep
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.runtime.guard.guard import COARSE, Guard
from pipeline.runtime.guard.repair import Repair
from pipeline.runtime.limiter import Limiter

RATE_HZ = 30.0
MARGIN_M = 0.015


class Scene:
    """The arm at home, and a plan that turns its first joint."""

    def __init__(self, params: Params, acceleration: float = 1.0) -> None:
        self.params, self.robot = params, RobotModel.from_params(params.robot)
        self.times = np.arange(1, 17)[:, None] / RATE_HZ
        self.start = self.robot.home[None]
        turned = 0.5 * acceleration * self.times**2 * np.eye(6)[0]
        self.plan = (self.robot.home + turned)[None]

    def pen(self, row: int, offset: list[float]) -> Objects:
        """A pen beside the TCP at a row of the plan."""
        place = self.robot.fk(self.plan[0, row])[:3] + np.array(offset)
        return Objects(place[None], np.array([[0.0, 0.0, 1.0]]))

    @property
    def arm(self) -> tuple[Any, ...]:
        shapes = collision_geometry(self.params.robot, self.params.task)
        return kinematic_chain(self.robot), self.robot.joints, shapes, self.robot.limits

    def repair(self, spacing_m: float = 0.01, **changes: Any) -> Repair:
        model = ClearanceModel(*self.arm)
        margin = np.full(len(model.pairs), MARGIN_M)
        execution = self.params.override("execution", **changes).execution
        return Repair(Sweep(model, spacing_m), margin, execution, self.robot.limits, RATE_HZ)


@pytest.fixture(scope="module")
def scene(params: Params) -> Scene:
    return Scene(params)


def test_a_plan_near_the_pen_is_pushed_out_of_the_margin(scene: Scene) -> None:
    model, plan, start = ClearanceModel(*scene.arm), scene.plan, scene.start
    pen, sweep = scene.pen(-1, [0.005, 0.0, -0.05]), Sweep(model, 0.01)

    def least(rows: np.ndarray) -> float:
        motion = np.concatenate([start[:, None], rows], axis=1)
        near = sweep.near(motion, pen, np.full(len(model.pairs), MARGIN_M + 0.05))
        return float(sweep.measure(motion, pen, near).distance.min())

    repair = scene.repair()
    repaired = repair.run(plan, start, pen)
    assert least(plan) < MARGIN_M - 0.001
    assert least(repaired) >= MARGIN_M
    room = 0.5 * scene.robot.limits.acceleration * scene.times**2
    assert (np.abs(repaired[0] - plan[0]) <= room + 1e-12).all()
    away = Objects(pen.position + np.array([0.5, 0.5, 0.0]), pen.axis)
    np.testing.assert_array_equal(repair.run(plan, start, away), plan)


def test_a_repair_does_not_depend_on_the_other_plans_of_its_batch(scene: Scene) -> None:
    robot, repair, times = scene.robot, scene.repair(), scene.times
    plans = robot.home + 0.5 * times**2 * np.eye(6)[[0, 1, 0], None]
    start = np.tile(robot.home, (3, 1))
    ends = np.stack([robot.fk(plan[-1])[:3] for plan in plans])
    # The first pen stands where the arm already is, and cannot be avoided; the second one can. The
    # third one is so little too near that its plan stays.
    offset = np.array([[0.0, 0.0, -0.02], [0.005, 0.0, -0.05], [0.015, 0.0, -0.05]])
    pens = Objects(
        np.stack([robot.fk(robot.home)[:3], *ends[1:]]) + offset, np.tile([0, 0, 1.0], (3, 1))
    )
    together = repair.run(plans, start, pens)
    for row in range(3):
        one = np.array([row])
        np.testing.assert_array_equal(
            repair.run(plans[one], start[one], pens.of(one))[0], together[row]
        )
    assert (together != plans).any(axis=(1, 2)).tolist() == [True, True, False]


def test_rows_near_the_start_move_as_far_as_the_joints_can_accelerate(scene: Scene) -> None:
    pen = scene.pen(5, [0.005, 0.0, -0.05])
    change = np.abs(scene.repair().run(scene.plan, scene.start, pen) - scene.plan)[0]
    share = change / (0.5 * scene.robot.limits.acceleration * scene.times**2)
    assert share.max() == pytest.approx(1.0)


def test_a_longer_smoothing_moves_more_rows(scene: Scene) -> None:
    pen, moved = scene.pen(-1, [0.005, 0.0, -0.05]), []
    for smooth_s in (0.01, 0.067, 0.3):
        repair = scene.repair(guard_smooth_s=smooth_s)
        change = np.abs(repair.run(scene.plan, scene.start, pen) - scene.plan)
        moved.append(int((change.max(axis=2) > 1e-3).sum()))
    assert moved == sorted(set(moved))


def test_a_mirrored_plan_is_repaired_to_the_mirrored_motion(scene: Scene) -> None:
    """Near the start, where the limits on both sides of a row count."""
    pen = scene.pen(4, [0.005, 0.02, -0.05])
    mirrored = Objects(pen.position * [1, -1, 1], pen.axis)
    sides, repair = np.array([-1, 1, 1, -1, 1, -1]), scene.repair()
    repaired = repair.run(scene.plan, scene.start, pen)
    other = repair.run(scene.plan * sides, scene.start * sides, mirrored)
    np.testing.assert_allclose(other * sides, repaired, atol=1e-5)
    assert np.abs(repaired - scene.plan).max() > 0.01


def test_the_guard_repairs_at_a_coarser_spacing_than_it_checks(params: Params) -> None:
    scene = Scene(params, 2.0)
    distances = {"guard_margin_m": MARGIN_M, "guard_least_m": MARGIN_M}
    execution = params.override("execution", guard="repair", **distances).execution
    guard, limiter = Guard(execution, *scene.arm), Limiter(scene.robot.limits, RATE_HZ)
    guard.reset(1)
    limiter.reset(scene.start)
    pen = scene.pen(-1, [0.005, 0.0, -0.05])
    sent = guard.review(scene.plan, limiter, pen)
    assert guard.report().last[0].verdict == "repaired"
    coarse = scene.repair(COARSE * 2 * MARGIN_M)
    np.testing.assert_array_equal(sent, coarse.run(scene.plan, scene.start, pen))
