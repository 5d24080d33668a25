"""Draws the pictures of an evaluation as PNG. Every picture states the number of rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.report import panels
from pipeline.evaluation.report.outlines import trial_obstacles, wireframe
from pipeline.evaluation.report.panels import BAD, EXPERT, GOOD, OBJECT, OBSTACLE
from pipeline.evaluation.robustness import Outcome
from pipeline.evaluation.rollout import Rollouts
from pipeline.evaluation.trials import Trials
from pipeline.params import TaskParams
from pipeline.robot.arrangement import scene_obstacles
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.dpi": 110,
    "font.size": 9,
    "savefig.bbox": "tight",
}


def _save(figure: Figure, path: Path) -> None:
    # Without the Software entry, the bytes do not depend on matplotlib's version.
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def error_over_time(
    path: Path, policy: metrics.ReachError, expert: metrics.ReachError, rate_hz: float
) -> None:
    """Draw distance and angle over time: the policy's spread and the expert's median.

    Args:
        path: PNG to write.
        policy: errors, shape (N, T).
        expert: errors of the expert's replay, shape (N, T).
        rate_hz: control steps per second.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
        pair = (
            (axes[0], policy.cap_m * 1000, expert.cap_m * 1000, "distance from the cap, mm", 0.1),
            (axes[1], policy.angle_deg, expert.angle_deg, "angle to the axis, degrees", 0.01),
        )
        for axis, values, expert_values, label, floor in pair:
            panels.error(axis, values, expert_values, rate_hz, floor)
            axis.set_ylabel(label)
        axes[0].legend(frameon=False, fontsize=8, loc="lower left")
        figure.tight_layout()
        figure.suptitle(f"Closed loop, n = {len(policy.cap_m)}")
        _save(figure, path)


def reach_map(
    path: Path, trials: Trials, task: TaskParams, passed: NDArray[np.bool_], error_m: Array
) -> None:
    """Draw where the policy succeeds: caps from above and from the side, and error over tilt.

    Args:
        path: PNG to write.
        trials: N objects.
        task: length of the object, the strict threshold and the scene, which is drawn too.
        passed: strict success, shape (N,).
        error_m: distance from the cap at the end, m, shape (N,).
    """
    cap = metrics.object_cap(trials.object_pos, trials.object_axis, task.object_length_m)
    tilt = np.degrees(np.arccos(np.clip(trials.object_axis[:, 2], -1, 1)))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
        for axis, rows, labels in (
            (axes[0], (cap[:, 0], cap[:, 1]), ("cap x, m", "cap y, m")),
            (axes[1], (cap[:, 0], cap[:, 2]), ("cap x, m", "cap z, m")),
            (axes[2], (tilt, error_m * 1000), ("tilt, degrees", "final error, mm")),
        ):
            panels.reached(axis, rows[0], rows[1], passed)
            axis.set(xlabel=labels[0], ylabel=labels[1])
        axes[0].set_aspect("equal")
        axes[1].set_aspect("equal")
        panels.obstacles(axes[0], scene_obstacles(task), 0, 1)
        panels.obstacles(axes[1], scene_obstacles(task), 0, 2)
        axes[2].axhline(task.strict_m * 1000, color=EXPERT, lw=1, ls="--")
        axes[2].set_yscale("log")
        figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncol=2, loc="upper left")
        figure.suptitle(f"Strict success over the workspace, n = {len(passed)}")
        figure.tight_layout()
        _save(figure, path)


def open_loop(path: Path, result: OpenLoop, joints: tuple[str, ...]) -> None:
    """Draw the open-loop error by joint and by step of the chunk.

    Args:
        path: PNG to write.
        result: the comparison.
        joints: joint names.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3))
        panels.joint_errors(axes[0], result, joints)
        panels.step_errors(axes[1], result)
        windows, episodes = result.summary["windows"], result.summary["episodes"]
        figure.suptitle(f"Open loop, {windows} windows of {episodes} test episodes")
        _save(figure, path)


def worst_rollouts(
    path: Path,
    model: RobotModel,
    trials: Trials,
    task: TaskParams,
    policy: Rollouts,
    expert: Rollouts,
    error_m: Array,
    rate_hz: float,
    frames: int = 6,
    rows: int = 4,
) -> None:
    """Draw filmstrips of the worst rollouts as stick figures beside the expert's.

    Args:
        path: PNG to write.
        model: the arm, for the positions of its links.
        trials: N objects.
        task: length of the object, and the scene.
        policy: rollouts of the policy.
        expert: rollouts of the expert's replay.
        error_m: distance from the cap at the end, m, shape (N,).
        rate_hz: control steps per second.
        frames: frames per strip.
        rows: number of rollouts to show.
    """
    worst = np.argsort(-error_m)[:rows]
    instants = np.linspace(0, policy.joint_pos.shape[1] - 1, frames).round().astype(int)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, grid = plt.subplots(
            len(worst), frames, figsize=(1.8 * frames, 1.7 * len(worst)), squeeze=False,
            subplot_kw={"projection": "3d"}, gridspec_kw={"wspace": 0, "hspace": 0},
        )  # fmt: skip
        for row, trial in enumerate(worst):
            for column, instant in enumerate(instants):
                axis = grid[row, column]
                _stick(axis, model.link_positions(expert.joint_pos[trial, instant]), EXPERT, 1.5)
                _stick(axis, model.link_positions(policy.joint_pos[trial, instant]), GOOD, 3)
                half = trials.object_axis[trial] * task.object_length_m / 2
                ends = trials.object_pos[trial] + np.stack([-half, half])
                axis.plot(*ends.T, color=OBJECT, lw=4)
                for obstacle in trial_obstacles(task, trials, trial):
                    for line in wireframe(obstacle):
                        axis.plot(*line.T, color=OBSTACLE, lw=0.6)
                _frame(axis)
                if row == 0:
                    axis.set_title(f"{(instant + 1) / rate_hz:.1f} s", y=0.95)
            label = f"trial {trial}\n{error_m[trial] * 1000:.1f} mm"
            grid[row, 0].text2D(-0.25, 0.3, label, transform=grid[row, 0].transAxes, fontsize=8)
        figure.suptitle(
            f"Worst {len(worst)} of n = {len(error_m)}: policy blue, expert grey, object green, "
            "obstacles purple",
            y=0.96,
        )
        _save(figure, path)


def _stick(axis: Any, points: Array, colour: str, width: float) -> None:
    axis.plot(*points.T, color=colour, lw=width, solid_capstyle="round")


def _frame(axis: Any) -> None:
    axis.set(xlim=(-0.2, 0.7), ylim=(-0.45, 0.45), zlim=(0, 0.9))
    axis.set_box_aspect((1, 1, 1), zoom=1.5)
    axis.view_init(elev=18, azim=-60)
    axis.set_axis_off()


def joint_curves(
    path: Path, policy: Rollouts, expert: Rollouts, joints: tuple[str, ...], trial: int,
    rate_hz: float,
) -> None:  # fmt: skip
    """Draw the joint positions of one rollout beside the expert's.

    Args:
        path: PNG to write.
        policy: rollouts of the policy.
        expert: rollouts of the expert's replay.
        joints: joint names.
        trial: index of the rollout.
        rate_hz: control steps per second.
    """
    with plt.rc_context(STYLE):
        columns = 3
        rows = -(-len(joints) // columns)
        figure, grid = plt.subplots(
            rows, columns, figsize=(10, 2.2 * rows), sharex=True, squeeze=False
        )
        for index, name in enumerate(joints):
            axis: Axes = grid.flat[index]
            panels.joint_curve(axis, policy, expert, trial, index, rate_hz)
            axis.set_title(name)
            axis.set_ylabel("rad")
        grid.flat[0].legend(frameon=False, fontsize=8)
        for axis in grid.flat[len(joints) :]:
            axis.set_axis_off()
        for axis in grid[-1]:
            axis.set_xlabel("time, s")
        figure.suptitle(f"Rollout of median error, trial {trial}")
        figure.tight_layout()
        _save(figure, path)


def robustness(path: Path, outcomes: list[Outcome]) -> None:
    """Draw success over severity, with one panel per family of conditions.

    Args:
        path: PNG to write.
        outcomes: outcomes of the robustness suite; the first, undisturbed one starts every curve.
    """
    nominal, families = outcomes[0], list(dict.fromkeys(o.condition.family for o in outcomes[1:]))
    columns = 4
    rows = -(-len(families) // columns)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            rows, columns, figsize=(11, 2.5 * rows), sharey=True, squeeze=False
        )
        for axis, family in zip(grid.flat, families, strict=False):
            own = [o for o in outcomes if o.condition.family == family]
            curve = sorted(
                [(o.condition.severity, o.summary) for o in own]
                + [(own[0].condition.nominal, nominal.summary)],
                key=lambda point: point[0],
            )
            severity = [point[0] for point in curve]
            low, high = zip(*(summary["ci95_collision_free"] for _, summary in curve), strict=True)
            axis.fill_between(severity, low, high, color=GOOD, alpha=0.2, lw=0)
            for key, colour, name in (
                ("success_team", EXPERT, "team's measure"),
                ("success_5mm", OBJECT, "tight"),
                ("success_strict", BAD, "strict"),
                ("success_collision_free", GOOD, "strict and free of contact, 95 % interval"),
            ):
                values = [summary[key] for _, summary in curve]
                axis.plot(severity, values, "o-", ms=4, color=colour, label=name)
            axis.axhline(1.0, color=EXPERT, lw=0.5)
            axis.set(xlabel=own[0].condition.label, ylim=(-0.03, 1.05), xticks=severity)
        for axis in grid[:, 0]:
            axis.set_ylabel("success")
        for axis in grid.flat[len(families) :]:
            axis.set_axis_off()
        figure.legend(
            *grid.flat[0].get_legend_handles_labels(), frameon=False, ncol=4, loc="upper right"
        )
        title = f"Success against severity, n = {nominal.summary['n']} for each point"
        figure.suptitle(title, x=0.02, ha="left")
        figure.tight_layout()
        _save(figure, path)
