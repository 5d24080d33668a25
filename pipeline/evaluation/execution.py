"""Summarises how chunks were executed in closed loop: limits, smoothness and the guard.

N rollouts, T control steps, J joints.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.rollout import Rollouts
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain, policy_geometry
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.runtime.guard.findings import VERDICTS
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.rehearsal import Rehearsal

Array = NDArray[np.float64]


def velocity_jumps(command: Array, rate_hz: float) -> Array:
    """Compute the changes of the commanded velocity from one control step to the next.

    Args:
        command: commanded joint positions, rad. Shape (N, T, J).
        rate_hz: commands per second.

    Returns:
        Changes, rad/s; entry k is the change at command k + 2. Shape (N, T − 2, J).
    """
    return np.asarray(np.diff(command, n=2, axis=1) * rate_hz)


def execution_summary(rollouts: Rollouts, rate_hz: float) -> dict[str, Any]:
    """Summarise how the chunks were executed.

    Args:
        rollouts: rollouts with their execution report.
        rate_hz: control steps per second.

    Returns:
        JSON numbers: commands sent and how many the limits changed, by kind; rollouts in which a
        motion was started from noise because the policy's own would not have arrived; root mean
        square of the velocity jumps at the start of a chunk and elsewhere, and their ratio (None
        without such steps or without motion); root mean square jerk. Empty for fixed commands.
    """
    report = rollouts.execution
    if report is None:
        return {}
    jumps = velocity_jumps(rollouts.command, rate_hz)
    border = report.border[:, 2:]
    at_border, inside = _root_mean_square(jumps[border]), _root_mean_square(jumps[~border])
    return {
        "commands": report.commands,
        "clipped": report.clipped,
        "largest_change_rad": report.largest_change_rad,
        "starved_steps": report.starved_steps,
        "border_jump_rad_s": at_border,
        "inside_jump_rad_s": inside,
        "jump_ratio": at_border / inside if at_border is not None and inside else None,
        "redirected": None if report.redirected is None else int((report.redirected > 0).sum()),
        "rms_jerk_rad_s3": metrics.root_mean_square_jerk(rollouts.command, rate_hz),
    }


def _root_mean_square(values: Array) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if values.size else None


def make_guard(params: Params, robot: RobotModel) -> Guard | None:
    """Build the guard for the settings in `execution` and the scene in `task`; None if it is off.

    Args:
        params: sections robot, task and execution.
        robot: the arm.

    Raises:
        ModelError: the description files have no usable collision shapes.
    """
    if params.execution.guard == "off":
        return None
    shapes = collision_geometry(params.robot, params.task)
    return Guard(params.execution, kinematic_chain(robot), robot.joints, shapes, robot.limits)


def make_rehearsal(
    params: Params, robot: RobotModel, layout: Layout, horizon: int, rate_hz: float
) -> Rehearsal | None:
    """Build what computes motions ahead; None if it is off.

    Args:
        params: sections robot, task and execution.
        robot: the arm.
        layout: fields of an observation.
        horizon: steps of a chunk.
        rate_hz: policy steps per second.

    Raises:
        ModelError: the description files have no usable collision shapes.
    """
    settings = params.execution
    if not Rehearsal.is_on(settings):
        return None
    shapes = collision_geometry(params.robot, params.task)
    geometry = policy_geometry(robot, params.task)
    return Rehearsal(settings, geometry, shapes, robot.limits, layout, horizon, rate_hz)


def guard_summary(rollouts: Rollouts) -> dict[str, Any]:
    """Summarise the guard's work for the entry `guard` of metrics.json.

    Args:
        rollouts: N rollouts with their execution report.

    Returns:
        Chunks and rollouts by verdict, and how often each pair was the reason for a rollout's most
        severe verdict. Empty without a guard.
    """
    report = None if rollouts.execution is None else rollouts.execution.guard
    if report is None:
        return {}
    reasons: dict[str, int] = {}
    for finding in report.worst:
        if finding.verdict != "free":
            pair = f"{finding.first} and {finding.second}"
            reasons[pair] = reasons.get(pair, 0) + 1
    return {
        "chunks": report.total(),
        "rollouts": {name: int(np.count_nonzero(report.counts[name])) for name in VERDICTS},
        "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1])),
    }


def guard_finding(rollouts: Rollouts, trial: int) -> str:
    """Format the guard's worst finding in a rollout for failures.csv; empty if there is none.

    Args:
        rollouts: N rollouts with their execution report.
        trial: index of the rollout.
    """
    report = None if rollouts.execution is None else rollouts.execution.guard
    if report is None or report.worst[trial].verdict == "free":
        return ""
    return str(report.worst[trial])
