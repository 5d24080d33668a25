"""Tests trials and the expert's commands."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.trials import Trials, expert_commands


def test_the_first_trials_are_a_prefix(trials: Trials) -> None:
    assert len(trials.first(2)) == len(trials.first(2).object_pos) == 2
    assert np.array_equal(trials.first(2).object_axis, trials.object_axis[:2])
    assert len(trials.first(10)) == 3


def test_commands_follow_the_plan_and_hold_its_end(trials: Trials) -> None:
    commands = expert_commands(trials, rate_hz=30.0, steps=90)
    assert commands.shape == (3, 90, 6)
    for command, plan in zip(commands, trials.plans, strict=True):
        assert command[-1] == pytest.approx(plan.joint_pos[-1], abs=1e-9)
        assert command[2] == pytest.approx(plan.joint_pos[1], abs=1e-9)  # 0.1 s is step 3


def test_a_rollout_is_long_enough_for_the_longest_plan(trials: Trials) -> None:
    longest_s = max(plan.duration_s for plan in trials.plans)
    assert trials.steps(30.0, 10_000) == 10_000
    assert 1.5 * longest_s <= trials.steps(30.0, 1) / 30.0 < 1.5 * longest_s + 1 / 30.0
