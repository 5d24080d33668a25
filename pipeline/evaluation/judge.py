"""Measures rollouts against the grasps that they were after: errors, contacts, success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.rollout import Rollouts
from pipeline.evaluation.trials import Trials
from pipeline.params import TaskParams
from pipeline.robot.collision import CollisionChecker

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Contact:
    """The first contact of a rollout."""

    step: int
    """Control step during which it came about, from 0."""
    first: str
    """Link, or table, obstacle, object …"""
    second: str
    """… and what it touched."""

    def __str__(self) -> str:
        """As failures.csv shows it."""
        return f"{self.first} and {self.second} at step {self.step}"


@dataclass(frozen=True)
class ClosedLoop:
    """The rollouts of a policy, of the expert or of an arm at rest on all trials, measured.

    N rollouts.
    """

    rollouts: Rollouts
    error: metrics.ReachError
    """Over time, shape (N, T)."""
    collided: Mask
    """Whether a rollout touched what it must not. Shape (N,)."""
    contacts: tuple[Contact | None, ...]
    """What each of the N rollouts touched first; None where nothing."""
    passed: dict[str, Mask]
    """Success by measure: team, strict, tight, collision_free. Shape (N,) each."""
    summary: dict[str, Any]
    """JSON numbers for metrics.json."""

    def first(self, number: int, task: TaskParams) -> ClosedLoop:
        """The first rollouts, summarised on their own.

        Args:
            number: how many; all where there are fewer.
            task: thresholds.
        """
        chosen = slice(number)
        rollouts, error = self.rollouts.first(number), self.error.first(number)
        return measure(rollouts, error, self.contacts[chosen], task)


def judge(
    rollouts: Rollouts, trials: Trials, checker: CollisionChecker, task: TaskParams
) -> ClosedLoop:
    """Measure rollouts against the grasps that they were after.

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
    return measure(rollouts, error, first_contacts(checker, rollouts, trials), task)


def measure(
    rollouts: Rollouts,
    error: metrics.ReachError,
    contacts: tuple[Contact | None, ...],
    task: TaskParams,
) -> ClosedLoop:
    """Success and summary of rollouts whose errors and contacts are known.

    Args:
        rollouts: N rollouts.
        error: over time, shape (N, T).
        contacts: what each touched first.
        task: thresholds.
    """
    collided = np.array([contact is not None for contact in contacts], dtype=np.bool_)
    passed = metrics.success(error, collided, task)
    summary = metrics.closed_loop_summary(error, collided, task)
    return ClosedLoop(rollouts, error, collided, contacts, passed, summary)


def first_contacts(
    checker: CollisionChecker, rollouts: Rollouts, trials: Trials
) -> tuple[Contact | None, ...]:
    """What each rollout touches first: table, obstacle, object or the arm itself.

    The measured motion is swept: what lies between two physics steps is checked too.

    Args:
        checker: collision checks, with no clearance.
        rollouts: N rollouts.
        trials: their objects.

    Returns:
        N entries, None for a rollout that touched nothing.
    """
    contacts: list[Contact | None] = []
    for motion, position, axis in zip(
        rollouts.motion, trials.object_pos, trials.object_axis, strict=True
    ):
        found = checker.first_contact(motion, position, axis)
        if found is None:
            contacts.append(None)
        else:
            row, first, second = found
            contacts.append(Contact(max(row - 1, 0) // rollouts.physics_steps, first, second))
    return tuple(contacts)
