from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.params import Params, RobotParams
from pipeline.robot.model import RobotModel
from pipeline.robot.simulator import SimulationError, Simulator

Array = NDArray[np.float64]


def _step(simulator: Simulator, start: Array, goal: Array, periods: int) -> Array:
    simulator.reset(start[None])
    return simulator.run(np.tile(goal, (1, periods, 1)))[0][0]


def test_an_arm_at_rest_stays(params: Params, arm: RobotModel) -> None:
    simulator = Simulator(params.robot, 30.0, 16)
    simulator.reset(np.stack([arm.home, arm.home + 0.3]))
    positions, velocities = simulator.run(
        np.tile(np.stack([arm.home, arm.home + 0.3])[:, None], (1, 30, 1))
    )
    # Gravity is compensated: no servo error holds the arm up.
    assert positions[0] == pytest.approx(np.tile(arm.home, (30, 1)), abs=1e-6)
    assert positions[1] == pytest.approx(np.tile(arm.home + 0.3, (30, 1)), abs=1e-6)
    assert np.abs(velocities).max() < 1e-5


def test_a_step_settles_without_swinging(params: Params, arm: RobotModel) -> None:
    goal = arm.home + 0.1
    path = _step(Simulator(params.robot, 30.0, 16), arm.home, goal, 45)
    assert path[-1] == pytest.approx(goal, abs=1e-4)
    assert (path <= goal + 0.01).all()


def test_weaker_gains_lag_more(params: Params, arm: RobotModel) -> None:
    goal = arm.home + 0.1
    strong = _step(Simulator(params.robot, 30.0, 16), arm.home, goal, 6)
    weak = _step(Simulator(params.robot, 30.0, 16, gain_scale=0.1), arm.home, goal, 6)
    assert (weak[-1] < strong[-1]).all()


def test_calls_in_a_row_are_one_motion(params: Params, arm: RobotModel) -> None:
    commands = arm.home + np.cumsum(
        np.random.default_rng(0).uniform(-0.03, 0.03, (3, 16, 6)), axis=1
    )
    start = np.tile(arm.home, (3, 1))
    whole = Simulator(params.robot, 30.0, 8)
    whole.reset(start)
    positions, velocities = whole.run(commands)
    parts = Simulator(params.robot, 30.0, 8, threads=1)
    parts.reset(start)
    runs = [parts.run(commands[:, k : k + 4]) for k in range(0, 16, 4)]
    assert np.array_equal(np.concatenate([run[0] for run in runs], axis=1), positions)
    assert np.array_equal(np.concatenate([run[1] for run in runs], axis=1), velocities)
    assert np.array_equal(parts.joint_pos, positions[:, -1])


def test_commands_are_interpolated_inside_a_period(params: Params, arm: RobotModel) -> None:
    # Halving the period and giving the middle of each command changes nothing.
    slow, fast = Simulator(params.robot, 25.0, 8), Simulator(params.robot, 50.0, 4)
    for simulator in (slow, fast):
        simulator.reset(arm.home[None])
    commands = arm.home + np.linspace(0, 0.2, 11)[1:, None]
    between = arm.home + np.linspace(0, 0.2, 21)[1:, None]
    expected, _ = slow.run(commands[None])
    found, _ = fast.run(between[None])
    assert found[:, 1::2] == pytest.approx(expected, abs=1e-9)


def test_held_commands_lead_interpolated_ones(params: Params, arm: RobotModel) -> None:
    commands = (arm.home + 0.01 * np.arange(1, 9)[:, None])[None]
    paths = []
    for interpolate in (True, False):
        simulator = Simulator(params.robot, 30.0, 16, interpolate=interpolate)
        simulator.reset(arm.home[None])
        paths.append(simulator.run(commands)[0])
    assert (paths[1] > paths[0] + 1e-5).all()


def test_torque_is_limited(params: Params, arm: RobotModel, tmp_path: Path) -> None:
    text = params.robot.urdf.read_text().replace('effort="194"', 'effort="5"')
    path = tmp_path / "weak.urdf"
    path.write_text(text)
    weak = Simulator(params.override("robot", urdf=path).robot, 30.0, 16)
    goal = arm.home + np.array([0.3, 0, 0, 0, 0, 0])
    moved = _step(weak, arm.home, goal, 10)[-1, 0]
    assert moved < 0.5 * _step(Simulator(params.robot, 30.0, 16), arm.home, goal, 10)[-1, 0]


def test_sliding_and_endless_joints_are_driven_too(crane: RobotParams) -> None:
    home = RobotModel.from_params(crane).home
    simulator = Simulator(crane, 30.0, 16)
    goal = home + np.array([0.2, 0.5, 0.2])
    path = _step(simulator, home, goal, 60)
    assert path[-1] == pytest.approx(goal, abs=1e-3)


def test_no_periods_and_no_arms_are_no_error(params: Params) -> None:
    simulator = Simulator(params.robot, 30.0, 4)
    simulator.reset(np.zeros((0, 6)))
    assert simulator.run(np.zeros((0, 5, 6)))[0].shape == (0, 5, 6)


@pytest.mark.parametrize("shape", [(6,), (2, 5)])
def test_start_poses_of_another_shape_are_refused(params: Params, shape: tuple[int, ...]) -> None:
    with pytest.raises(SimulationError, match=r"expected \(N, 6\)"):
        Simulator(params.robot, 30.0, 4).reset(np.zeros(shape))


def test_commands_that_do_not_fit_are_refused(params: Params, arm: RobotModel) -> None:
    simulator = Simulator(params.robot, 30.0, 4)
    simulator.reset(arm.home[None])
    with pytest.raises(SimulationError, match=r"expected \(1, K, 6\)"):
        simulator.run(np.zeros((2, 3, 6)))
    with pytest.raises(SimulationError, match="not finite"):
        simulator.run(np.full((1, 3, 6), np.nan))
