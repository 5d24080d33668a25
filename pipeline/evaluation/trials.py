"""What a policy is tried on: objects never demonstrated, each with the expert's own plan.

Knows the planner and the simulator's rate, nothing of policies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.params import TaskParams
from pipeline.robot.planner import Planner, sample_object
from pipeline.robot.retime import Plan

Array = NDArray[np.float64]

TIME_TO_SPARE = 1.5
"""A rollout lasts this many times the longest of the expert's plans at least."""


class TrialError(PipelineError):
    """The task offers no object that the arm can reach."""


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


def draw_trials(planner: Planner, task: TaskParams, number: int, seed: int) -> Trials:
    """Draw objects from the task's range until the expert has reached enough of them.

    Args:
        planner: the expert.
        task: the range.
        number: trials wanted.
        seed: of objects and plans; keep it apart from that of the demonstrations.

    Raises:
        TrialError: fewer than one in fifty objects can be reached.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7E57]))
    found: list[tuple[Array, Array, Plan]] = []
    drawn = 0
    for position, axis in _objects(task, rng):
        drawn += 1
        plan = planner.plan(position, axis, rng)
        if plan is not None:
            found.append((position, axis, plan))
        if len(found) == number:
            break
        if drawn >= 50 * (len(found) + 1):
            raise TrialError(
                f"the expert reached {len(found)} of {drawn} objects between cap_min_m "
                f"{task.cap_min_m} and cap_max_m {task.cap_max_m}; expected one in fifty at least: "
                "check task.* and robot.* in params.yaml"
            )
    positions, axes, plans = zip(*found, strict=True)
    return Trials(np.stack(positions), np.stack(axes), plans, drawn)


def _objects(task: TaskParams, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    while True:
        yield sample_object(task, rng)


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
