"""Rollouts held against the grasps they were after: errors, contacts, success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.contacts import Contact, collided, first_contacts
from pipeline.evaluation.rollout import Rollouts
from pipeline.evaluation.trials import Trials
from pipeline.params import TaskParams
from pipeline.robot.collision import CollisionChecker

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ClosedLoop:
    """Rollouts of one driver (policy, expert or stand-still) on all trials, judged. N rollouts."""

    rollouts: Rollouts
    error: metrics.ReachError
    """Over time, shape (N, T)."""
    collided: Mask
    """Whether a rollout touched what it must not. Shape (N,)."""
    contacts: tuple[Contact | None, ...]
    """What each of the N rollouts touched first; None where nothing."""
    passed: dict[str, Mask]
    """Success by measure: team, strict, tight. Shape (N,) each."""
    summary: dict[str, Any]
    """JSON numbers for metrics.json."""


def judge(
    rollouts: Rollouts, trials: Trials, checker: CollisionChecker, task: TaskParams
) -> ClosedLoop:
    """Measure rollouts against the grasps they were after.

    Args:
        rollouts: N rollouts.
        trials: their objects.
        checker: collision checks, with no clearance.
        task: thresholds and the object's length.
    """
    error = metrics.reach_error(
        rollouts.ee_pose,
        trials.object_pos[:, None],
        trials.object_axis[:, None],
        task.object_length_m,
    )
    contacts = first_contacts(checker, rollouts, trials)
    hits = collided(contacts)
    passed = metrics.success(error, hits, task)
    summary = metrics.closed_loop_summary(error, hits, task)
    return ClosedLoop(rollouts, error, hits, contacts, passed, summary)
