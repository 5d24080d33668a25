"""Draws single panels on matplotlib axes, for `plots` (PNG) and `diagrams` (report.html)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.report.outlines import outline
from pipeline.evaluation.rollout import Rollouts

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
# The palette of Okabe and Ito, which colour-blind readers can distinguish.
GOOD, BAD, EXPERT, OBJECT = "#0072B2", "#D55E00", "#666666", "#009E73"
OBSTACLE = "#CC79A7"
LEAST_RANGE_RAD = 0.05
"""Minimum span of a joint curve's axis, so that a tenth of a degree does not look large."""


def error(axis: Axes, policy: Array, expert: Array, rate_hz: float, floor: float) -> None:
    """Draw an error over time: the policy's spread and the expert's median, log scale.

    Args:
        axis: axes to draw on.
        policy: errors of the policy. Shape (N, T).
        expert: errors of the expert's replay. Shape (N, T).
        rate_hz: control steps per second.
        floor: smallest value shown, since the expert's replay may be exact.
    """
    time = np.arange(1, policy.shape[1] + 1) / rate_hz
    low, median, high, most = np.percentile(policy, [25, 50, 75, 95], axis=0)
    axis.fill_between(time, low, high, color=GOOD, alpha=0.25, label="policy: quartiles")
    axis.plot(time, median, color=GOOD, label="median")
    axis.plot(time, most, color=BAD, lw=1, label="95th percentile")
    axis.plot(time, np.median(expert, axis=0), "--", color=EXPERT, label="expert, median")
    axis.set(xlabel="time, s", yscale="log")
    axis.set_ylim(bottom=floor)


def reached(axis: Axes, x: Array, y: Array, passed: Mask) -> None:
    """Draw rollouts as points, with separate marks for successes and failures.

    Args:
        axis: axes to draw on.
        x: horizontal coordinates. Shape (N,).
        y: vertical coordinates. Shape (N,).
        passed: whether each rollout succeeded. Shape (N,).
    """
    for mask, colour, marker, name in (
        (passed, GOOD, "o", "reached"),
        (~passed, BAD, "X", "missed"),
    ):
        label = f"{name} ({mask.sum()})"
        axis.scatter(x[mask], y[mask], c=colour, marker=marker, s=18, alpha=0.7, lw=0, label=label)


def obstacles(axis: Axes, rows: Array, right: int, up: int) -> None:
    """Draw obstacles as areas.

    Args:
        axis: axes to draw on.
        rows: obstacles. Shape (M, 12).
        right: axis of the base frame that points right.
        up: axis of the base frame that points up.
    """
    for row in rows:
        axis.add_patch(Polygon(outline(row, right, up), fc=OBSTACLE, alpha=0.5, lw=0))


def joint_errors(axis: Axes, result: OpenLoop, joints: tuple[str, ...]) -> None:
    """Draw the open-loop error of each joint.

    Args:
        axis: axes to draw on.
        result: the comparison with the expert.
        joints: joint names.
    """
    axis.bar(joints, result.per_joint_deg, color=GOOD)
    axis.set_ylabel("error, degrees (RMS)")
    axis.tick_params(axis="x", rotation=30)


def step_errors(axis: Axes, result: OpenLoop) -> None:
    """Draw the open-loop error of each step of the chunk.

    Args:
        axis: axes to draw on.
        result: the comparison with the expert.
    """
    axis.plot(result.per_step_deg, "o-", color=GOOD)
    axis.set(xlabel="step of the chunk", ylabel="error, degrees (RMS)")
    axis.set_ylim(bottom=0)


def joint_curve(
    axis: Axes, policy: Rollouts, expert: Rollouts, trial: int, joint: int, rate_hz: float
) -> None:
    """Draw one joint of one rollout beside the expert's.

    Args:
        axis: axes to draw on.
        policy: rollouts of the policy.
        expert: rollouts of the expert's replay.
        trial: index of the rollout.
        joint: index of the joint.
        rate_hz: control steps per second.
    """
    time = np.arange(1, policy.joint_pos.shape[1] + 1) / rate_hz
    axis.plot(time, expert.joint_pos[trial, :, joint], "--", color=EXPERT, label="expert")
    axis.plot(time, policy.command[trial, :, joint], color=BAD, lw=1, label="commanded")
    axis.plot(time, policy.joint_pos[trial, :, joint], color=GOOD, label="measured")
    low, high = axis.get_ylim()
    middle, half = (low + high) / 2, max((high - low) / 2, LEAST_RANGE_RAD / 2)
    axis.set_ylim(middle - half, middle + half)


def losses(axis: Axes, epoch: Array, train: Array, val: Array) -> None:
    """Draw training and validation loss on a log scale.

    Args:
        axis: axes to draw on.
        epoch: epochs. Shape (K,).
        train: training loss. Shape (K,).
        val: validation loss. Shape (K,).
    """
    axis.plot(epoch, train, ".-", color=EXPERT, label="training")
    axis.plot(epoch, val, ".-", color=GOOD, label="validation")
    axis.set(xlabel="epoch", ylabel="loss", yscale="log")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def histogram(axis: Axes, values: Array, label: str) -> None:
    """Draw a histogram.

    Args:
        axis: axes to draw on.
        values: values to count. Shape (N,).
        label: quantity and unit.
    """
    # Values that differ only by rounding count as one, since bins between them would show noise.
    spread = float(np.ptp(values))
    flat = spread <= 1e-6 * max(1.0, float(np.abs(values).max()))
    axis.hist(np.round(values, 6), bins=1 if flat else 24, color=GOOD)
    axis.set(xlabel=label, ylabel="episodes")


def intervals(axis: Axes, names: list[str], share: Array, low: Array, high: Array) -> None:
    """Draw shares with their intervals, one line each, the first on top.

    Args:
        axis: axes to draw on.
        names: names of the lines.
        share: shares between 0 and 1. Shape (K,).
        low: lower bounds. Shape (K,).
        high: upper bounds. Shape (K,).
    """
    rows = np.arange(len(names))
    axis.hlines(rows, low * 100, high * 100, color=GOOD, lw=3, alpha=0.4)
    axis.plot(share * 100, rows, "o", color=GOOD)
    axis.set_yticks(rows, names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set(xlabel="strict and free of contact, % (bar: 95 % interval)", xlim=(-2, 102))
