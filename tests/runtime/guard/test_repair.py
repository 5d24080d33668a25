"""Tests that repair moves plans far enough and within the joints' acceleration."""

from __future__ import annotations

import numpy as np

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.sweep import Sweep
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.runtime.guard.repair import Repair

RATE_HZ = 30.0
MARGIN_M = 0.015


def test_a_plan_near_the_pen_is_pushed_out_of_the_margin(params: Params) -> None:
    robot = RobotModel.from_params(params.robot)
    shapes = collision_geometry(params.robot, params.task)
    model = ClearanceModel(kinematic_chain(robot), robot.joints, shapes, robot.limits)
    sweep, margin = Sweep(model, 0.01), np.full(len(model.pairs), MARGIN_M)
    start, times = robot.home[None], np.arange(1, 17)[:, None] / RATE_HZ
    plan = (robot.home + 0.5 * times**2 * [1.0, 0, 0, 0, 0, 0])[None]
    finger = robot.fk(plan[0, -1])[:3]
    pen = Objects(finger[None] + np.array([0.005, 0.0, -0.05]), np.array([[0.0, 0.0, 1.0]]))

    def least(rows: np.ndarray) -> float:
        motion = np.concatenate([start[:, None], rows], axis=1)
        near = sweep.near(motion, pen, margin + 0.05)
        return float(sweep.measure(motion, pen, near).distance.min())

    repair = Repair(sweep, margin, params.execution, robot.limits, RATE_HZ)
    repaired = repair.run(plan, start, pen)
    assert least(plan) < MARGIN_M - 0.001
    assert least(repaired) >= MARGIN_M
    room = 0.5 * robot.limits.acceleration * times**2
    assert (np.abs(repaired[0] - plan[0]) <= room + 1e-12).all()
    away = Objects(pen.position + np.array([0.5, 0.5, 0.0]), pen.axis)
    np.testing.assert_array_equal(repair.run(plan, start, away), plan)


def test_a_repair_does_not_depend_on_the_other_plans_of_its_batch(params: Params) -> None:
    robot = RobotModel.from_params(params.robot)
    shapes = collision_geometry(params.robot, params.task)
    model = ClearanceModel(kinematic_chain(robot), robot.joints, shapes, robot.limits)
    repair = Repair(
        Sweep(model, 0.01), np.full(len(model.pairs), MARGIN_M), params.execution, robot.limits,
        RATE_HZ,
    )  # fmt: skip
    times = np.arange(1, 17)[:, None] / RATE_HZ
    plans = robot.home + 0.5 * times**2 * np.array([[[1.0, 0, 0, 0, 0, 0]], [[0, 1.0, 0, 0, 0, 0]]])
    start = np.tile(robot.home, (2, 1))
    ends = np.stack([robot.fk(plan[-1])[:3] for plan in plans])
    # The first pen stands where the arm already is, and cannot be avoided; the second one can.
    offset = np.array([[0.0, 0.0, -0.02], [0.005, 0.0, -0.05]])
    pens = Objects(
        np.stack([robot.fk(robot.home)[:3], ends[1]]) + offset, np.tile([0, 0, 1.0], (2, 1))
    )
    both = repair.run(plans, start, pens)
    for row in range(2):
        one = np.array([row])
        np.testing.assert_array_equal(
            repair.run(plans[one], start[one], pens.of(one))[0], both[row]
        )
    assert (both != plans).any(axis=(1, 2)).all()
