"""Draws trials: objects that the expert can reach and that are not in the demonstrations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.evaluation.trials import Trials
from pipeline.params import TaskParams
from pipeline.robot.arrangement import sample_object
from pipeline.robot.planner import Planner
from pipeline.robot.retime import Plan

Array = NDArray[np.float64]


class TrialError(PipelineError):
    """The arm can reach too few of the task's objects."""


def draw_trials(planner: Planner, task: TaskParams, number: int, seed: int) -> Trials:
    """Draw objects from the task's range until the expert has reached enough of them.

    Args:
        planner: the expert.
        task: range of the objects.
        number: number of trials.
        seed: seed of objects and plans; it must differ from the demonstrations' seed.

    Raises:
        TrialError: fewer than one in fifty objects can be reached.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7E57]))
    found: list[tuple[Array, Array, Plan, Array]] = []
    drawn = 0
    for position, axis in _objects(task, rng):
        drawn += 1
        obstacles = planner.arrange(position, axis, rng)
        plan = planner.plan(position, axis, rng)
        if plan is not None:
            found.append((position, axis, plan, obstacles))
        if len(found) == number:
            break
        if drawn >= 50 * (len(found) + 1):
            raise TrialError(
                f"the expert reached {len(found)} of {drawn} objects between cap_min_m "
                f"{task.cap_min_m} and cap_max_m {task.cap_max_m}; expected at least one in fifty: "
                "check task.* and robot.* in params.yaml"
            )
    positions, axes, plans, obstacles_of = zip(*found, strict=True)
    some = obstacles_of if any(map(len, obstacles_of)) else ()
    return Trials(np.stack(positions), np.stack(axes), plans, drawn, some)


def _objects(task: TaskParams, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    while True:
        yield sample_object(task, rng)
