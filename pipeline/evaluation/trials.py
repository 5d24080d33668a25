"""Defines trials: the objects of an evaluation, each with the expert's plan.

Module `draw` draws them with the planner. Training uses trials of the validation episodes instead
and does not depend on the planner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS, pad
from pipeline.robot.retime import Plan

Array = NDArray[np.float64]

TIME_TO_SPARE = 1.5
"""Minimum duration of a rollout as a multiple of the longest of the expert's plans."""


@dataclass(frozen=True)
class Trials:
    """Objects and the expert's plans for them. N trials."""

    object_pos: Array
    """Centres in the base frame, m. Shape (N, 3)."""
    object_axis: Array
    """Unit axes. Shape (N, 3)."""
    plans: tuple[Plan, ...]
    drawn: int
    """Number of objects drawn to find N that the expert can reach."""
    obstacles: tuple[Array, ...] = ()
    """Obstacles of each trial in addition to those of the scene, shape (M, 12) each; empty if there
    are none in any trial."""

    def __len__(self) -> int:
        return len(self.plans)

    def first(self, number: int) -> Trials:
        """Select the first trials.

        Args:
            number: number of trials; all if there are fewer.
        """
        return replace(
            self,
            object_pos=self.object_pos[:number],
            object_axis=self.object_axis[:number],
            plans=self.plans[:number],
            obstacles=self.obstacles[:number],
        )

    def of(self, chosen: NDArray[np.int64]) -> Trials:
        """Select some trials.

        Args:
            chosen: indices of the trials. Shape (B,).
        """
        return replace(
            self,
            object_pos=self.object_pos[chosen],
            object_axis=self.object_axis[chosen],
            plans=tuple(self.plans[trial] for trial in chosen),
            obstacles=tuple(self.obstacles[trial] for trial in chosen if self.obstacles),
        )

    def objects(self) -> Iterator[tuple[Array, Array]]:
        """Yield position and axis of each trial's object, shape (3,) each."""
        return zip(self.object_pos, self.object_axis, strict=True)

    def around(self, trial: int) -> Array:
        """Obstacles of one trial, in addition to those of the scene. Shape (M, 12)."""
        return self.obstacles[trial] if self.obstacles else np.zeros((0, COLUMNS))

    def padded(self, slots: int | None = None) -> Array:
        """Obstacles of all trials with unused rows.

        Args:
            slots: number of rows of each trial, K; None for the largest number in a trial.

        Returns:
            Shape (N, K, 12).

        Raises:
            ObstacleError: a trial has more than K obstacles.
        """
        rows = max(map(len, self.obstacles), default=0) if slots is None else slots
        return np.stack([pad(self.around(trial), rows) for trial in range(len(self))])

    def steps(self, rate_hz: float, least: int) -> int:
        """Compute the control steps of a rollout: at least 1.5 times the longest plan.

        Args:
            rate_hz: control steps per second.
            least: minimum number of steps.
        """
        longest_s = max(plan.duration_s for plan in self.plans)
        return max(least, math.ceil(TIME_TO_SPARE * longest_s * rate_hz))


def expert_commands(trials: Trials, rate_hz: float, steps: int) -> Array:
    """Compute the expert's command at each control step; its last pose is held.

    Args:
        trials: N trials.
        rate_hz: control steps per second.
        steps: control steps of a rollout, T.

    Returns:
        Joint positions at the end of each control step, rad. Shape (N, T, J).
    """
    times = np.arange(1, steps + 1) / rate_hz
    return np.stack([plan.sample(times) for plan in trials.plans])
