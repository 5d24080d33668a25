"""Runs the robustness suite: a policy under servos, sensors and delays unseen in training.

The conditions are a fixed benchmark, so that results of two policies can be compared. Therefore
they are defined here and not in params.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.evaluation import metrics
from pipeline.evaluation.disturbance import UNDISTURBED, Disturbance
from pipeline.evaluation.judge import first_contacts, judge, measure
from pipeline.evaluation.results import write_table
from pipeline.evaluation.rollout import Loop, Predict
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.planner import Planner
from pipeline.robot.simulator import Simulator

Array = NDArray[np.float64]
MOVES_AT_S = 0.5
"""Time at which the object is moved, s; halfway, since a demonstration takes about 1 s."""
INTERVALS = ("ci95_strict", "ci95_collision_free")
"""Intervals in robustness.csv."""
DEG_PER_MM = 0.4
"""Axis error per position error, degrees/mm; the quality bar names 2° with 5 mm."""
TRIES = 200
"""Largest number of draws of a free start, or of a new place for an object."""


NOMINAL = "nominal"
"""Family of the undisturbed condition."""


class RobustnessError(PipelineError):
    """A condition cannot be set up."""


@dataclass(frozen=True)
class Condition:
    """One disturbance at one severity."""

    family: str
    """Conditions of one family differ only in severity and form one curve."""
    severity: float
    label: str
    """Name of the severity with its unit."""
    nominal: float = 0.0
    """Severity that corresponds to the undisturbed loop."""
    disturbance: Disturbance = UNDISTURBED
    gain_scale: float = 1.0
    """Factor on the servo's gains."""
    interpolate: bool = True
    """Whether the servo interpolates commands within a control period."""
    control_hz: float | None = None
    """Control rate; None for the policy's own."""
    move_m: float = 0.0
    """Distance by which the object is moved during the rollout, m."""

    @property
    def name(self) -> str:
        """Key in metrics.json."""
        return f"{self.family}_{self.severity:g}"


@dataclass(frozen=True)
class Outcome:
    """The result of a condition."""

    condition: Condition
    summary: dict[str, Any]
    """n, success by each measure and their intervals, errors, collisions."""


def conditions(size: Literal["short", "full"], policy_hz: float) -> list[Condition]:
    """List the conditions of a suite.

    Args:
        size: short for the severities in the quality bar, full for whole curves.
        policy_hz: the policy's own rate, which is not repeated as a condition.

    Returns:
        Conditions, by increasing severity within a family; the first one is undisturbed.
    """
    full = size == "full"
    divisors = (2, 3, 5, 10, 20) if full else (3, 10)
    starts = (0.1, 0.2, 0.3, 0.5) if full else (0.3,)
    errors_mm = (2, 5, 10) if full else (5,)
    latencies = (1, 2, 4) if full else (1, 2)
    moves_mm = (50, 100, 200) if full else (100,)
    rates = [
        rate for rate in ((10, 20, 30, 50, 100) if full else (20, 30, 50)) if rate != policy_hz
    ]
    return [
        Condition(NOMINAL, 0, "as trained"),
        *(
            Condition("gains_divided", divisor, "servo gains ÷", 1.0, gain_scale=1 / divisor)
            for divisor in divisors
        ),
        Condition("commands_held", 1, "commands held within a period", interpolate=False),
        *(
            Condition("start_off_rad", rad, "start off home, ± rad", 0, Disturbance(start_rad=rad))
            for rad in starts
        ),
        *(
            Condition(
                "noise_mm", mm, "noise on the pose, σ in mm", 0,
                Disturbance(noise_m=mm / 1000, noise_deg=mm * DEG_PER_MM),
            )
            for mm in errors_mm
        ),
        *(
            Condition(
                "bias_mm", mm, "constant error of the pose, mm", 0,
                Disturbance(bias_m=mm / 1000, bias_deg=mm * DEG_PER_MM),
            )
            for mm in errors_mm
        ),
        *(
            Condition(
                "latency_steps", steps, "latency, control steps", 0,
                Disturbance(latency_steps=steps),
            )
            for steps in latencies
        ),
        *(
            Condition(
                "moved_mm", mm, "object moved on the way, mm", 0,
                Disturbance(moves_at_s=MOVES_AT_S), move_m=mm / 1000,
            )
            for mm in moves_mm
        ),
        *(
            Condition(
                "control_hz", rate, "control rate, Hz", policy_hz, control_hz=float(rate)
            )
            for rate in rates
        ),
    ]  # fmt: skip


def make_simulator(
    params: Params, condition: Condition, policy_hz: float, threads: int | None = None
) -> Simulator:
    """Build the simulator with the servo and the control rate of a condition.

    Args:
        params: sections robot and evaluate.
        condition: gains, interpolation and control rate.
        policy_hz: the policy's own rate.
        threads: physics threads; None takes one per core that this process may use.
    """
    rate = condition.control_hz or policy_hz
    # Keep the physics time step approximately constant.
    physics = max(round(params.evaluate.physics_steps * policy_hz / rate), 1)
    return Simulator(
        params.robot, rate, physics, condition.gain_scale, threads, condition.interpolate
    )


@dataclass(frozen=True)
class Suite:
    """Runs conditions on common trials with a common policy."""

    predict: Predict
    loop: Loop
    """The undisturbed loop at the policy's rate."""
    trials: Trials
    """Objects for every condition. N trials."""
    planner: Planner
    """Decides where an object may be moved to."""
    params: Params

    def run(self, suite: list[Condition]) -> Iterator[Outcome]:
        """Roll out every condition on the same trials.

        Args:
            suite: the conditions.

        Raises:
            RobustnessError: no collision-free start or no reachable second place was found.
        """
        for condition in suite:
            yield Outcome(condition, self._summary(condition))

    def _summary(self, condition: Condition) -> dict[str, Any]:
        evaluate, task = self.params.evaluate, self.params.task
        rate = condition.control_hz or self.loop.policy_hz
        ratio = rate / self.loop.policy_hz
        moved = self._second_places(condition.move_m) if condition.move_m > 0 else None
        steps = self.trials.steps(rate, round(evaluate.rollout_steps * ratio))
        simulator = make_simulator(self.params, condition, self.loop.policy_hz, threads=1)
        rollouts = replace(self.loop, simulator=simulator).run(
            self.predict, self.trials, steps, evaluate.seed, condition.disturbance,
            self._starts(condition.disturbance.start_rad), moved,
        )  # fmt: skip
        # The required time at rest is the same as at the policy's own rate.
        task = task.model_copy(update={"settle_steps": max(round(task.settle_steps * ratio), 1)})
        # The planner's checker cannot be used, since it adds a clearance.
        checker = CollisionChecker(self.params.robot, self.params.task)
        if moved is None:
            return judge(rollouts, self.trials, checker, task).summary
        before, after = rollouts.split(int(np.ceil(condition.disturbance.moves_at_s * rate)))
        result = judge(after, moved, checker, task)
        earlier = first_contacts(checker, before, self.trials)
        contacts = tuple(one or two for one, two in zip(earlier, result.contacts, strict=True))
        return measure(after, result.error, contacts, task).summary

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng(
            np.random.SeedSequence([self.params.evaluate.seed, 0x20B057, purpose])
        )

    def _starts(self, spread_rad: float) -> Array | None:
        """Draw collision-free start poses around home, rad. Shape (N, J)."""
        if spread_rad == 0:
            return None
        model, checker, rng = self.loop.model, self.planner.checker, self._rng(1)
        starts = []
        for trial, (position, axis) in enumerate(self.trials.objects()):
            checker.place_obstacles(self.trials.around(trial))
            for _ in range(TRIES):
                offset = rng.uniform(-spread_rad, spread_rad, len(model.home))
                start = np.clip(model.home + offset, model.lower, model.upper)
                if not checker.collides(start, position, axis):
                    break
            else:
                raise RobustnessError(
                    f"each of {TRIES} poses within ±{spread_rad} rad of home collides; expected "
                    "free room around robot.home_rad"
                )
            starts.append(start)
        return np.array(starts)

    def _second_places(self, distance_m: float) -> Trials:
        """Move objects by a distance to places that the expert can reach."""
        task, rng = self.params.task, self._rng(2)
        places, plans = [], []
        for trial, (position, axis) in enumerate(self.trials.objects()):
            self.planner.checker.place_obstacles(self.trials.around(trial))
            for _ in range(TRIES):
                direction = rng.standard_normal(3)
                place = position + distance_m * direction / np.linalg.norm(direction)
                cap = metrics.object_cap(place, axis, task.object_length_m)
                if (cap < task.cap_min_m).any() or (cap > task.cap_max_m).any():
                    continue
                plan = self.planner.plan(place, axis, rng)
                if plan is not None:
                    break
            else:
                raise RobustnessError(
                    f"no place {distance_m} m from the object at {position.round(3).tolist()} can "
                    f"be reached ({TRIES} tries); expected task.cap_min_m to cap_max_m to hold one"
                )
            places.append(place)
            plans.append(plan)
        return replace(self.trials, object_pos=np.array(places), plans=tuple(plans))


def write_outcomes(path: Path, outcomes: list[Outcome]) -> None:
    """Write the suite as CSV, one condition per row.

    Args:
        path: file to write.
        outcomes: results of `Suite.run`.
    """
    measures = [name for name in outcomes[0].summary if not name.startswith("ci95_")]
    write_table(
        path,
        ["condition", "severity", *measures]
        + [f"{key}_{end}" for key in INTERVALS for end in ("low", "high")],
        (
            (
                outcome.condition.family,
                outcome.condition.severity,
                *(outcome.summary[name] for name in measures),
                *(end for key in INTERVALS for end in outcome.summary[key]),
            )
            for outcome in outcomes
        ),
    )
