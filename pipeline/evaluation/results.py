"""Writes the results of an evaluation as CSV tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.failures import Evidence, Failure
from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.trials import Trials
from pipeline.obstacles import NAMES

Array = NDArray[np.float64]
OBSTACLES = "trial_obstacles.csv"
"""Table of the obstacles that were drawn for each trial; missing if none were."""


def write_tables(
    folder: Path,
    policy: ClosedLoop,
    trials: Trials,
    clearance_m: Array,
    open_loop: OpenLoop,
    joints: tuple[str, ...],
    object_name: str,
    rate_hz: float,
) -> None:
    """Write the data behind the plots, for `dvc plots` and for further analysis.

    Args:
        folder: folder for the CSV files.
        policy: rollouts of the policy.
        trials: objects of the rollouts.
        clearance_m: smallest distance from obstacles in each rollout, m. Shape (N,).
        open_loop: the comparison with the expert.
        joints: joint names.
        object_name: name of the object, used in column names.
        rate_hz: control steps per second.
    """
    cap_mm, angle = policy.error.cap_m * 1000, policy.error.angle_deg
    times = np.arange(1, cap_mm.shape[1] + 1) / rate_hz
    rows = (times, np.median(cap_mm, axis=0), np.percentile(cap_mm, 95, axis=0))
    write_table(
        folder / "error_over_time.csv",
        ["time_s", "median_mm", "p95_mm", "median_deg"],
        zip(*rows, np.median(angle, axis=0), strict=True),
    )
    write_table(
        folder / "open_loop_steps.csv",
        ["horizon_step", "joint_rmse_deg"],
        enumerate(open_loop.per_step_deg),
    )
    write_table(
        folder / "open_loop_joints.csv",
        ["joint", "joint_rmse_deg"],
        zip(joints, open_loop.per_joint_deg, strict=True),
    )
    columns = [f"{object_name}_{kind}_{axis}" for kind in ("pos", "axis") for axis in "xyz"]
    write_table(
        folder / "rollouts.csv",
        ["trial", *columns, "error_mm", "error_deg", *policy.passed, "collided",
         "obstacles", "clearance_mm"],
        (
            (
                trial, *trials.object_pos[trial], *trials.object_axis[trial],
                cap_mm[trial, -1], angle[trial, -1],
                *(int(flags[trial]) for flags in policy.passed.values()),
                int(policy.collided[trial]), len(trials.around(trial)), clearance_m[trial] * 1000,
            )
            for trial in range(len(trials))
        ),
    )  # fmt: skip
    if trials.obstacles:
        around = ((trial, *row) for trial in range(len(trials)) for row in trials.around(trial))
        write_table(folder / OBSTACLES, ["trial", *NAMES], around)


def write_failures(path: Path, failures: list[Failure]) -> None:
    """Write the failures as CSV, one per row.

    `nearest_episodes` lists training episodes as index:offset in mm:angle in degrees.

    Args:
        path: file to write.
        failures: failures of one evaluation.
    """
    names = [field.name for field in fields(Evidence)]
    rows = (
        (
            failure.trial,
            failure.kind,
            *astuple(failure.evidence),
            " ".join(
                f"{near.episode}:{near.offset_mm:.1f}:{near.angle_deg:.1f}"
                for near in failure.nearest
            ),
        )
        for failure in failures
    )
    write_table(path, ["trial", "class", *names, "nearest_episodes"], rows)


def write_table(path: Path, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file with six significant digits.

    Args:
        path: file to write.
        header: names of the columns.
        rows: values of the rows.
    """
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row])
