"""What a rollout touched first, and when: the planner's own checks on every control step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.rollout import Rollouts
from pipeline.evaluation.trials import Trials
from pipeline.robot.collision import CollisionChecker


@dataclass(frozen=True)
class Contact:
    """The first touch of a rollout."""

    step: int
    """Control step at whose end it was seen, from 0."""
    first: str
    """Link, or table, obstacle, object …"""
    second: str
    """… and what it touched."""

    def __str__(self) -> str:
        """As failures.csv shows it."""
        return f"{self.first} and {self.second} at step {self.step}"


def first_contacts(
    checker: CollisionChecker, rollouts: Rollouts, trials: Trials
) -> tuple[Contact | None, ...]:
    """The first touch of each rollout, of table, obstacle, object or the arm itself.

    Args:
        checker: collision checks, with no clearance.
        rollouts: N rollouts.
        trials: their objects.

    Returns:
        N entries, None for a rollout that touched nothing.
    """
    return tuple(
        _first(checker, path, position, axis)
        for path, position, axis in zip(
            rollouts.joint_pos, trials.object_pos, trials.object_axis, strict=True
        )
    )


def collided(contacts: tuple[Contact | None, ...]) -> NDArray[np.bool_]:
    """Which rollouts touched anything.

    Args:
        contacts: of N rollouts.

    Returns:
        Shape (N,).
    """
    return np.array([contact is not None for contact in contacts], dtype=np.bool_)


def _first(
    checker: CollisionChecker,
    path: NDArray[np.float64],
    position: NDArray[np.float64],
    axis: NDArray[np.float64],
) -> Contact | None:
    touching = checker.colliding(path, position, axis)
    if not touching.any():
        return None
    step = int(np.argmax(touching))
    pair = checker.touching(path[step], position, axis)
    return None if pair is None else Contact(step, *pair)
