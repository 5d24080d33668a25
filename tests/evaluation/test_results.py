"""Judged rollouts and their tables agree with each other."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.evaluation.failures import Evidence, Failure, Neighbour
from pipeline.evaluation.judge import judge
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.results import write_failures, write_tables
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.obstacles import NAMES
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker


def test_tables_hold_what_was_judged(
    params: Params, loop: Loop, trials: Trials, tmp_path: Path
) -> None:
    rollouts = loop.replay(expert_commands(trials, 30.0, 70), trials)
    checker = CollisionChecker(params.robot, params.task)
    judged = judge(rollouts, trials, checker, params.task)
    assert judged.summary["success_strict"] == judged.passed["strict"].mean() == 1.0
    chunk = np.zeros((4, 16, 6))
    open_loop = OpenLoop(chunk, chunk, {}, np.arange(16.0), np.arange(6.0))
    around = replace(trials, obstacles=(np.zeros((0, 12)), np.zeros((2, 12)), np.zeros((1, 12))))
    clearance_m, joints = np.array([np.inf, 0.0123, 0.2]), params.robot.joints
    write_tables(tmp_path, judged, around, clearance_m, open_loop, joints, "pen", 30.0)
    with (tmp_path / "rollouts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["error_mm"]) < 1 for row in rows] == [True] * 3
    assert [row["strict"] for row in rows] == ["1"] * 3
    assert [row["obstacles"] for row in rows] == ["0", "2", "1"]
    assert [row["clearance_mm"] for row in rows] == ["inf", "12.3", "200"]
    with (tmp_path / "trial_obstacles.csv").open() as file:
        listed = list(csv.reader(file))
    assert listed[0] == ["trial", *NAMES]
    assert [row[0] for row in listed[1:]] == ["1", "1", "2"]
    with (tmp_path / "open_loop_joints.csv").open() as file:
        assert next(csv.DictReader(file)) == {"joint": "joint_1", "joint_rmse_deg": "0"}


def test_failures_are_listed_with_their_evidence_and_nearest_episodes(tmp_path: Path) -> None:
    evidence = Evidence(
        12.5, 3.0, 8.0, 1.0, True, "finger and pen at step 7", False, "", 0.5, 0.1, 0.2
    )
    failure = Failure(
        4, "collision", evidence, (Neighbour(20, 12.34, 5.67), Neighbour(3, 40.0, 9.0))
    )
    write_failures(tmp_path / "failures.csv", [failure])
    with (tmp_path / "failures.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["trial"], row["class"], row["final_mm"]) == ("4", "collision", "12.5")
    assert row["touched"] == "finger and pen at step 7"
    assert row["nearest_episodes"] == "20:12.3:5.7 3:40.0:9.0"
