"""The live simulation is evaluation's closed loop, with knobs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.disturbance import Disturbance
from pipeline.evaluation.execution import make_guard
from pipeline.evaluation.robustness import Condition
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.play.simulation import Knobs, Simulation
from pipeline.robot.simulator import Simulator
from pipeline.runtime.session import RobotPolicy

SIDEWAYS = np.array([0.0, 0.1, 0.0])
NOISY = Disturbance(noise_m=0.002, noise_deg=1.0, bias_m=0.003)


@pytest.fixture
def simulation(params: Params, policy: RobotPolicy) -> Simulation:
    return Simulation(params, policy)


@pytest.mark.parametrize("disturbance", [Disturbance(), NOISY])
def test_it_moves_as_evaluation_does(
    params: Params, policy: RobotPolicy, trials: Trials, disturbance: Disturbance
) -> None:
    model = Simulation(params, policy).model
    loop = Loop(
        Simulator(params.robot, 30.0, params.evaluate.physics_steps), model, policy.layout,
        16, 2, params.execution, 30.0, make_guard(params, model),
    )  # fmt: skip
    rollouts = loop.run(
        lambda obs, noise: np.asarray(policy.backend.predict(obs, noise), float),
        trials.first(1), 40, 7, disturbance,
    )  # fmt: skip
    simulation = Simulation(params, policy, seed=7)
    simulation.move_object(trials.object_pos[0], trials.object_axis[0])
    simulation.change(Knobs(Condition("", 0, "", 0, disturbance), simulation.knobs.guard))
    simulation.reset()
    moved = np.concatenate([simulation.step().motion[1:] for _ in range(40)])
    assert np.array_equal(moved, rollouts.motion[0, 1:])


def test_it_reaches_the_object_and_follows_it(simulation: Simulation) -> None:
    steps = [simulation.step() for _ in range(90)]
    assert steps[0].error_mm > 100 and not steps[0].reached
    assert steps[-1].error_mm < 1 and steps[-1].error_deg < 1 and steps[-1].reached
    assert all(step.contact is None for step in steps)
    simulation.move_object(simulation.object_pos + SIDEWAYS, np.array([0.0, 0.2, 2.0]))
    assert np.linalg.norm(simulation.object_axis) == pytest.approx(1)
    away = simulation.step()
    assert away.error_mm > 90 and not away.reached
    assert [simulation.step() for _ in range(90)][-1].reached


def test_the_lamp_needs_ten_steps_at_the_grasp(simulation: Simulation) -> None:
    for _ in range(90):
        simulation.step()
    simulation.move_object(simulation.object_pos, simulation.object_axis)
    lit = [simulation.step().reached for _ in range(12)]
    assert lit == [False] * 9 + [True] * 3


def test_a_chunk_is_shown_with_what_the_guard_said(simulation: Simulation) -> None:
    chunk = simulation.step().chunk
    assert chunk is not None and chunk.finding is not None
    assert chunk.wanted.shape == (16, 3) and chunk.milliseconds > 0
    assert str(chunk.finding) == "free"
    assert np.allclose(chunk.sent[0], chunk.wanted[1]), "the first row was just sent"
    assert simulation.step().chunk is None


def test_contacts_are_named_and_put_the_lamp_out(simulation: Simulation) -> None:
    for _ in range(90):
        simulation.step()
    # The object is pushed through the hand.
    simulation.move_object(
        simulation.object_pos + simulation.object_axis * 0.05, simulation.object_axis
    )
    step = simulation.step()
    assert step.contact is not None and "pen" in step.contact
    steps = [simulation.step() for _ in range(120)]
    last = max(index for index, step in enumerate(steps) if step.contact is not None)
    assert not any(step.reached for step in steps[: last + 10])
    assert steps[-1].reached, "the arm has let go"


def test_a_late_policy_sees_the_object_later(simulation: Simulation) -> None:
    def steps_until_it_moves(latency: int) -> int:
        knobs = Knobs(Condition("", 0, "", 0, Disturbance(latency_steps=latency)), "off")
        simulation.change(knobs)
        simulation.reset()
        for _ in range(60):
            simulation.step()
        at_rest = simulation.joint_pos
        simulation.move_object(simulation.object_pos + SIDEWAYS, simulation.object_axis)
        for count in range(1, 40):
            simulation.step()
            if np.abs(simulation.joint_pos - at_rest).max() > 0.01:
                return count
        raise AssertionError("it never moves")

    assert steps_until_it_moves(4) > steps_until_it_moves(0)


def test_knobs_change_the_servo_the_rate_and_the_guard(simulation: Simulation) -> None:
    simulation.step()
    before = simulation.joint_pos
    simulation.change(Knobs(Condition("", 0, "", gain_scale=0.1, control_hz=100.0), "check"))
    assert simulation.rate_hz == 100.0
    assert simulation.joint_pos == pytest.approx(before), "the arm stays where it is"
    step = simulation.step()
    # The physics keep their time step: 16 steps in a thirtieth of a second.
    assert len(step.motion) == 1 + round(16 * 30 / 100)
    assert step.chunk is not None and step.chunk.finding is not None
    simulation.change(replace(simulation.knobs, guard="off"))
    step = simulation.step()
    assert step.chunk is not None and step.chunk.finding is None


def test_the_checker_knows_the_boxes(simulation: Simulation) -> None:
    checker, axis = simulation.checker, np.array([0.0, 0.0, 1.0])
    far, home = np.array([0.5, 0.0, 0.05]), checker.model.home
    hand = checker.model.tcp(home).translation
    assert checker.touching(home, far, axis) is None
    simulation.place(
        [{"centre_m": hand.tolist(), "size_m": [0.1, 0.1, 0.1], "quaternion": [0, 0, 0, 1]}]
    )
    touching = checker.touching(home, far, axis)
    assert touching is not None and touching[1] == "obstacle 1"
    simulation.place([])
    assert checker.touching(home, far, axis) is None
