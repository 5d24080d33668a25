"""Judged rollouts and their tables agree with each other."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from pipeline.evaluation.judge import judge
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.results import write_tables
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials, expert_commands
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
    write_tables(tmp_path, judged, trials, open_loop, params.robot.joints, "pen", 30.0)
    with (tmp_path / "rollouts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["error_mm"]) < 1 for row in rows] == [True] * 3
    assert [row["strict"] for row in rows] == ["1"] * 3
    with (tmp_path / "open_loop_joints.csv").open() as file:
        assert next(csv.DictReader(file)) == {"joint": "joint_1", "joint_rmse_deg": "0"}
