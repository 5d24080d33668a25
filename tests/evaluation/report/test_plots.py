"""Tests that pictures are written and are equal for equal data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.evaluation import metrics
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.report import plots
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.obstacles import sphere
from pipeline.params import Params


def test_every_picture_is_drawn(params: Params, loop: Loop, trials: Trials, tmp_path: Path) -> None:
    expert = loop.replay(expert_commands(trials, 30.0, 30), trials)
    policy = loop.replay(np.tile(loop.model.home, (3, 30, 1)), trials)
    error = metrics.reach_error(
        policy.ee_pose,
        trials.object_pos[:, None],
        trials.object_axis[:, None],
        params.task.object_length_m,
    )
    chunk = np.zeros((4, 16, 6))
    result = OpenLoop(chunk, chunk, {"windows": 4, "episodes": 1}, np.ones(16), np.ones(6))
    passed, joints = np.array([True, False, True]), params.robot.joints
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        plots.error_over_time(folder / "time.png", error, error, 30.0)
        plots.reach_map(folder / "map.png", trials, params.task, passed, error.cap_m[:, -1])
        plots.open_loop(folder / "open.png", result, joints)
        plots.worst_rollouts(
            folder / "worst.png", loop.model, trials, params.task, policy, expert,
            error.cap_m[:, -1], 30.0,
        )  # fmt: skip
        plots.joint_curves(folder / "joints.png", policy, expert, joints, 0, 30.0)
    pictures = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(pictures) == 5
    for name in pictures:
        content = (tmp_path / "first" / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content == (tmp_path / "second" / name).read_bytes()


def test_obstacles_are_in_the_pictures(
    params: Params, loop: Loop, trials: Trials, tmp_path: Path
) -> None:
    rollouts = loop.replay(np.tile(loop.model.home, (3, 2, 1)), trials)
    far = np.ones(3)
    for scene in ("free", "bar"):
        task = params.override("task", scene=scene).task
        plots.reach_map(tmp_path / f"map_{scene}.png", trials, task, far > 0, far)
        plots.worst_rollouts(
            tmp_path / f"worst_{scene}.png", loop.model, trials, task, rollouts, rollouts, far,
            30.0, frames=1, rows=1,
        )  # fmt: skip
    for name in ("map", "worst"):
        free, bar = (tmp_path / f"{name}_{scene}.png" for scene in ("free", "bar"))
        assert free.read_bytes() != bar.read_bytes()


def test_a_trial_s_own_obstacles_are_in_its_pictures(
    params: Params, loop: Loop, trials: Trials, tmp_path: Path
) -> None:
    rollouts = loop.replay(np.tile(loop.model.home, (3, 2, 1)), trials)
    own = (np.zeros((0, 12)), sphere([0.4, 0.2, 0.5], 0.1)[None], np.zeros((0, 12)))
    arranged, worst_first = replace(trials, obstacles=own), np.array([3.0, 2.0, 1.0])
    for rows in (1, 2):
        for name, some in (("free", trials), ("arranged", arranged)):
            plots.worst_rollouts(
                tmp_path / f"{name}_{rows}.png", loop.model, some, params.task, rollouts, rollouts,
                worst_first, 30.0, frames=1, rows=rows,
            )  # fmt: skip
        free, drawn = (tmp_path / f"{name}_{rows}.png" for name in ("free", "arranged"))
        assert (free.read_bytes() == drawn.read_bytes()) == (rows == 1), "trial 1 has a ball"
