"""Measures errors, contacts and success of rollouts."""

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
    """Control step of the contact, from 0."""
    first: str
    """Name of one body: link, table, obstacle or object."""
    second: str
    """Name of the other body."""

    def __str__(self) -> str:
        """Format the contact for failures.csv."""
        return f"{self.first} and {self.second} at step {self.step}"


@dataclass(frozen=True)
class ClosedLoop:
    """Judged rollouts of a policy, of the expert or of an arm at rest. N rollouts, T steps."""

    rollouts: Rollouts
    error: metrics.ReachError
    """Errors over time. Shape (N, T)."""
    collided: Mask
    """Whether a rollout had a forbidden contact. Shape (N,)."""
    contacts: tuple[Contact | None, ...]
    """First contact of each of the N rollouts; None if there was none."""
    passed: dict[str, Mask]
    """Success by measure: team, strict, tight, collision_free. Shape (N,) each."""
    summary: dict[str, Any]
    """JSON numbers for metrics.json."""

    def first(self, number: int, task: TaskParams) -> ClosedLoop:
        """Select the first rollouts and summarise them alone.

        Args:
            number: number of rollouts; all if there are fewer.
            task: thresholds.
        """
        chosen = slice(number)
        rollouts, error = self.rollouts.first(number), self.error.first(number)
        return measure(rollouts, error, self.contacts[chosen], task)


def judge(
    rollouts: Rollouts, trials: Trials, checker: CollisionChecker, task: TaskParams
) -> ClosedLoop:
    """Measure errors, contacts and success of rollouts.

    Args:
        rollouts: N rollouts.
        trials: objects of the rollouts.
        checker: collision checker without clearance.
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
    """Compute success and summary of rollouts from their errors and contacts.

    Args:
        rollouts: N rollouts.
        error: errors over time. Shape (N, T).
        contacts: first contact of each rollout.
        task: thresholds.
    """
    collided = np.array([contact is not None for contact in contacts])
    passed = metrics.success(error, collided, task)
    summary = metrics.closed_loop_summary(error, collided, task)
    return ClosedLoop(rollouts, error, collided, contacts, passed, summary)


def obstacle_clearances(
    checker: CollisionChecker, rollouts: Rollouts, trials: Trials
) -> NDArray[np.float64]:
    """Compute the smallest distance between arm and obstacles at the ends of the control steps.

    Args:
        checker: collision checker without clearance.
        rollouts: N rollouts.
        trials: objects of the rollouts.

    Returns:
        m; infinite without obstacles. Shape (N,).
    """
    found = np.empty(len(trials))
    for trial, joint_pos in enumerate(rollouts.joint_pos):
        checker.place_obstacles(trials.around(trial))
        found[trial] = checker.clearance(joint_pos)
    return found


def first_contacts(
    checker: CollisionChecker, rollouts: Rollouts, trials: Trials
) -> tuple[Contact | None, ...]:
    """Find the first contact of each rollout with table, obstacle, object or the arm itself.

    The measured motion is swept, so that contacts between two physics steps are found too.

    Args:
        checker: collision checker without clearance.
        rollouts: N rollouts.
        trials: objects of the rollouts.

    Returns:
        N entries; None for a rollout without contact.
    """
    contacts: list[Contact | None] = []
    for trial, (motion, (position, axis)) in enumerate(
        zip(rollouts.motion, trials.objects(), strict=True)
    ):
        checker.place_obstacles(trials.around(trial))
        found = checker.first_contact(motion, position, axis)
        if found is None:
            contacts.append(None)
        else:
            row, first, second = found
            contacts.append(Contact(max(row - 1, 0) // rollouts.physics_steps, first, second))
    return tuple(contacts)
