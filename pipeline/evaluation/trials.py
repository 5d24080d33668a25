"""Trials: the objects that a policy is evaluated on, each with the expert's own plan.

Drawing them needs the planner and is done in `draw`, so that training, which rolls out on objects
of the validation episodes, does not depend on the planner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.robot.retime import Plan

Array = NDArray[np.float64]

TIME_TO_SPARE = 1.5
"""A rollout lasts this many times the longest of the expert's plans at least."""


@dataclass(frozen=True)
class Trials:
    """Objects and the expert's plans to them. N trials."""

    object_pos: Array
    """Centres, m, base frame. Shape (N, 3)."""
    object_axis: Array
    """Unit axes. Shape (N, 3)."""
    plans: tuple[Plan, ...]
    drawn: int
    """Objects drawn until N were found that the expert reaches."""

    def __len__(self) -> int:
        return len(self.plans)

    def first(self, number: int) -> Trials:
        """The first of them.

        Args:
            number: how many; all where there are fewer.
        """
        return replace(
            self,
            object_pos=self.object_pos[:number],
            object_axis=self.object_axis[:number],
            plans=self.plans[:number],
        )

    def steps(self, rate_hz: float, least: int) -> int:
        """Control steps of a rollout: half as long again as the longest plan at least.

        Args:
            rate_hz: control steps a second.
            least: steps where the plans are short.
        """
        longest_s = max(plan.duration_s for plan in self.plans)
        return max(least, math.ceil(TIME_TO_SPARE * longest_s * rate_hz))


def expert_commands(trials: Trials, rate_hz: float, steps: int) -> Array:
    """What the expert commands at each control step; its last pose is held.

    Args:
        trials: N trials.
        rate_hz: control steps a second.
        steps: control steps of a rollout, T.

    Returns:
        Joint positions commanded for the end of each control step, rad. Shape (N, T, J).
    """
    times = np.arange(1, steps + 1) / rate_hz
    return np.stack([plan.sample(times) for plan in trials.plans])
