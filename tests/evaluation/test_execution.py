"""Execution is summarised by limits, smoothness and the guard's verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.execution import (
    execution_summary,
    guard_finding,
    guard_summary,
    make_guard,
    velocity_jumps,
)
from pipeline.evaluation.rollout import Loop, Rollouts
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.runtime.chunking import ExecutionReport


def _rollouts(command: np.ndarray, border: list[bool]) -> Rollouts:
    clipped = {"position": 0, "velocity": 1, "acceleration": 2}
    borders = np.tile(border, (len(command), 1))
    report = ExecutionReport(command.size, clipped, 0.25, 0, borders)
    return Rollouts(command, command, np.zeros((*command.shape[:2], 7)), command, report)


def test_a_velocity_jump_at_the_start_of_a_chunk_is_counted_there() -> None:
    # Speed 1 rad/s up to command 3, then at rest.
    command = np.minimum(np.arange(8), 3)[None, :, None] / 10.0
    assert velocity_jumps(command, 10.0)[0, :, 0] == pytest.approx([0, 0, -1, 0, 0, 0])
    border = [step in {0, 4} for step in range(8)]
    summary = execution_summary(_rollouts(command, border), 10.0)
    assert summary["border_jump_rad_s"] == pytest.approx(1.0)
    assert summary["inside_jump_rad_s"] == pytest.approx(0.0, abs=1e-12)
    assert summary["clipped"] == {"position": 0, "velocity": 1, "acceleration": 2}
    assert summary["largest_change_rad"] == 0.25


def test_a_ratio_needs_both_kinds_of_steps() -> None:
    command = np.random.default_rng(0).standard_normal((2, 8, 3))
    every = execution_summary(_rollouts(command, [True] * 8), 10.0)
    assert every["inside_jump_rad_s"] is None
    assert every["jump_ratio"] is None
    some = execution_summary(_rollouts(command, [step % 4 == 0 for step in range(8)]), 10.0)
    assert some["jump_ratio"] == some["border_jump_rad_s"] / some["inside_jump_rad_s"]


def test_fixed_commands_have_no_execution() -> None:
    fixed = Rollouts(
        np.zeros((1, 5, 2)), np.zeros((1, 5, 2)), np.zeros((1, 5, 7)), np.zeros((1, 6, 2))
    )
    assert execution_summary(fixed, 10.0) == {}


def test_no_guard_is_built_when_it_is_off(params: Params) -> None:
    robot = RobotModel.from_params(params.robot)
    assert make_guard(params.override("execution", guard="off"), robot) is None
    assert make_guard(params.override("execution", guard="check"), robot) is not None


def test_rollouts_without_a_guard_count_nothing(loop: Loop, trials: Trials) -> None:
    still = np.tile(loop.model.home, (len(trials), 5, 1))
    rollouts = loop.replay(still, trials)
    assert guard_summary(rollouts) == {}
    assert guard_finding(rollouts, 0) == ""
