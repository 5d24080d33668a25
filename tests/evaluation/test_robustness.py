"""Tests that every condition of the robustness suite disturbs the loop as its name says."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation import metrics
from pipeline.evaluation.report import plots
from pipeline.evaluation.robustness import (
    Condition,
    RobustnessError,
    Suite,
    conditions,
    write_outcomes,
)
from pipeline.evaluation.rollout import Array, Loop, Observations
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.planner import Planner


@pytest.fixture
def suite(params: Params, loop: Loop, trials: Trials, planner: Planner) -> Suite:
    """A suite whose policy does not move."""

    def stand(obs: Observations, noise: Observations) -> Array:
        return np.repeat(obs[:, -1:, :6], 16, axis=1).astype(np.float64)

    params = params.override("evaluate", rollout_steps=30)
    return Suite(stand, loop, trials, planner, params)


def _goal_seeker(suite: Suite, seen: list[Observations]) -> Suite:
    """A policy that looks up its goal by the observed position of the object."""
    places = [suite.trials, suite._second_places(0.1)]
    positions = np.concatenate([place.object_pos for place in places])
    goals = np.stack([plan.joint_pos[-1] for place in places for plan in place.plans])

    def seek(obs: Observations, noise: Observations) -> Array:
        seen.append(obs)
        distance = np.linalg.norm(obs[:, -1, None, 19:22] - positions, axis=-1)
        goal = goals[np.argmin(distance, axis=1)]
        now = obs[:, -1, :6].astype(np.float64)
        share = np.minimum(np.arange(1, 17) / 14, 1)[None, :, None]
        return now[:, None] + share * (goal - now)[:, None]

    params = suite.params.override("evaluate", rollout_steps=110)
    return replace(suite, predict=seek, params=params)


def test_short_and_full_suites_contain_the_severities_of_the_quality_bar() -> None:
    short = conditions("short", 30.0)
    names = [condition.name for condition in short]
    assert len(set(names)) == len(names)
    assert {"gains_divided_10", "start_off_rad_0.3", "noise_mm_5", "latency_steps_1"} <= set(names)
    assert "control_hz_30" not in names
    full = conditions("full", 30.0)
    assert set(names) <= {condition.name for condition in full}
    assert full[0] == short[0] == Condition("nominal", 0, "as trained")


@pytest.mark.parametrize("name", ["moved_mm_100", "noise_mm_5", "control_hz_50"])
def test_a_policy_that_knows_the_goals_reaches_them(suite: Suite, name: str) -> None:
    seen: list[Observations] = []
    chosen = [c for c in conditions("short", 30.0) if c.name == name]
    [outcome] = _goal_seeker(suite, seen).run(chosen)
    assert outcome.summary["n"] == 3
    assert outcome.summary["success_team"] == 1.0
    low, high = outcome.summary["ci95_strict"]
    assert low <= outcome.summary["success_strict"] <= high
    last = seen[-1][:, -1, 19:22]
    first = seen[0][:, -1, 19:22]
    moved = np.linalg.norm(last - first, axis=-1)
    if name == "moved_mm_100":
        assert moved == pytest.approx(np.full(3, 0.1), abs=1e-5)
    else:
        assert moved.max() < 0.03


def test_standing_still_reaches_nothing_wherever_it_starts(suite: Suite) -> None:
    outcomes = list(suite.run([c for c in conditions("short", 30.0) if "start" in c.name]))
    assert [outcome.summary["success_team"] for outcome in outcomes] == [0.0]


def test_starts_lie_around_home_within_limits_and_touch_nothing(suite: Suite) -> None:
    starts, model = suite._starts(0.3), suite.loop.model
    assert starts is not None
    assert 0.05 < np.abs(starts - model.home).max() <= 0.3
    checker = suite.planner.checker
    for start, position, axis in zip(
        starts, suite.trials.object_pos, suite.trials.object_axis, strict=True
    ):
        assert not checker.collides(start, position, axis)
    assert suite._starts(0.0) is None


def test_second_places_are_as_far_as_asked_inside_the_box_and_reachable(suite: Suite) -> None:
    task, moved = suite.params.task, suite._second_places(0.1)
    assert np.linalg.norm(moved.object_pos - suite.trials.object_pos, axis=1) == pytest.approx(
        np.full(3, 0.1)
    )
    cap = metrics.object_cap(moved.object_pos, moved.object_axis, task.object_length_m)
    assert (cap >= task.cap_min_m).all()
    assert (cap <= task.cap_max_m).all()
    ends = suite.loop.model.fk(np.stack([plan.joint_pos[-1] for plan in moved.plans]))
    assert ends[:, :3] == pytest.approx(cap, abs=1e-3)


def test_a_move_beyond_the_box_is_an_error(suite: Suite) -> None:
    with pytest.raises(RobustnessError, match=r"no place 5\.0 m"):
        suite._second_places(5.0)


def test_table_and_picture_state_n_and_the_severity(suite: Suite, tmp_path: Path) -> None:
    chosen = [c for c in conditions("short", 30.0) if c.name in {"nominal_0", "gains_divided_3"}]
    outcomes = list(suite.run(chosen))
    write_outcomes(tmp_path / "robustness.csv", outcomes)
    with (tmp_path / "robustness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["condition"], row["severity"], row["n"]) for row in rows] == [
        ("nominal", "0", "3"),
        ("gains_divided", "3", "3"),
    ]
    plots.robustness(tmp_path / "robustness.png", outcomes)
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")
