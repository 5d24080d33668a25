"""The guard of a closed loop, and what it did in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.evaluation.rollout import Rollouts
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.runtime.guard.findings import VERDICTS
from pipeline.runtime.guard.guard import Guard


def make_guard(params: Params, robot: RobotModel) -> Guard | None:
    """The guard that section `execution` asks for, in the scene of section `task`; None if off.

    Args:
        params: sections robot, task and execution.
        robot: the arm.

    Raises:
        ModelError: the descriptions have no collision shapes that can be covered.
    """
    if params.execution.guard == "off":
        return None
    shapes = collision_geometry(params.robot, params.task)
    return Guard(params.execution, kinematic_chain(robot), robot.joints, shapes, robot.limits)


def guard_summary(rollouts: Rollouts) -> dict[str, Any]:
    """The entry `guard` of metrics.json.

    Args:
        rollouts: N rollouts, with their execution.

    Returns:
        Chunks and rollouts by verdict, and how often each pair was the reason in a rollout's
        gravest chunk. Empty without a guard.
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
    """What the guard found worst in a rollout, as failures.csv shows it; empty where nothing.

    Args:
        rollouts: N rollouts, with their execution.
        trial: index of the rollout.
    """
    report = None if rollouts.execution is None else rollouts.execution.guard
    if report is None or report.worst[trial].verdict == "free":
        return ""
    return str(report.worst[trial])
