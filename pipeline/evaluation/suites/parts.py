"""Measures parts of an evaluation in processes of their own: robustness and the other backends.

Each part builds its own policy, loop and planner, so its result depends neither on the number of
processes nor on the other parts.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from pipeline.evaluation.execution import make_guard, make_rehearsal
from pipeline.evaluation.judge import ClosedLoop, judge
from pipeline.evaluation.predictors import compare_backends, load_predictors
from pipeline.evaluation.robustness import NOMINAL, Condition, Outcome, Suite, conditions
from pipeline.evaluation.rollout import Loop, Predict
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.policy.observation import obstacle_slots
from pipeline.processes import in_processes, start_server
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner, seed_planning
from pipeline.robot.simulator import Simulator

Measured = tuple[dict[str, Any], list[Outcome]]
"""The entry `backends` of metrics.json, or the outcomes of a family."""


def load_on_cpu(model: Path) -> DiffusionPolicy:
    """Load a checkpoint for rollouts.

    Args:
        model: the checkpoint.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    # A small network is fastest on one, and the results then do not depend on the number of cores.
    torch.set_num_threads(1)
    return DiffusionPolicy.from_checkpoint(model, device="cpu")


def make_loop(
    params: Params, policy: DiffusionPolicy, rate_hz: float, threads: int | None = None
) -> Loop:
    """Build the undisturbed closed loop of a policy.

    Args:
        params: sections robot, task, execution and evaluate.
        policy: for its dimensions.
        rate_hz: control steps per second.
        threads: physics threads; None takes one per core that this process may use.

    Raises:
        ModelError: the description files have no usable collision shapes.
    """
    robot = RobotModel.from_params(params.robot)
    return Loop(
        Simulator(params.robot, rate_hz, params.evaluate.physics_steps, threads=threads), robot,
        policy.layout, policy.horizon, policy.n_obs_steps, params.execution, rate_hz,
        make_guard(params, robot), obstacle_slots(policy.checkpoint.config),
        make_rehearsal(params, robot, policy.layout, policy.horizon, rate_hz),
    )  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """What is measured apart from the first backend's undisturbed rollouts, which are known."""

    params: Params
    model: Path
    """The checkpoint."""
    rate_hz: float
    """Control steps per second."""
    trials: Trials
    """N trials."""
    first: ClosedLoop
    """The first backend's rollouts of them."""

    @property
    def families(self) -> list[list[Condition]]:
        """The conditions of the robustness suite whose rollouts are not known, by family."""
        size = self.params.evaluate.robustness
        chosen = [] if size == "off" else conditions(size, self.rate_hz)
        groups = groupby(chosen, key=lambda condition: condition.family)
        return [list(group) for family, group in groups if family != NOMINAL]

    def known(self) -> list[Outcome]:
        """The undisturbed condition of the robustness suite; empty if it is off."""
        evaluate = self.params.evaluate
        if evaluate.robustness == "off":
            return []
        # A rollout does not depend on the rest of its batch.
        nominal = self.first.first(evaluate.robustness_pens, self.params.task)
        return [Outcome(conditions("short", self.rate_hz)[0], nominal.summary)]

    @staticmethod
    def prepare(params: Params) -> None:
        """Start to import what the processes need, where `run` will start any.

        Args:
            params: section evaluate.
        """
        if _needs_processes(params):
            start_server([__name__])

    def run(self) -> Generator[Measured, None, None]:
        """Measure all parts in processes, one per core at a time.

        Yields:
            The backends first, then family by family.

        Raises:
            RobustnessError: a condition cannot be set up.
            WorkerError: a process died.
        """
        if not _needs_processes(self.params):
            yield self._backends(), []
            return
        with closing(in_processes(self._measure, 0, [__name__], len(self))) as results:
            yield from results

    def __len__(self) -> int:
        """Number of parts."""
        return 1 + len(self.families)

    def _measure(self, number: int) -> Measured:
        if number == 0:
            return self._backends(), []
        return {}, self._family(self.families[number - 1])

    def _backends(self) -> dict[str, Any]:
        policy = load_on_cpu(self.model)
        loop = make_loop(self.params, policy, self.rate_hz)
        predictors = load_predictors(policy, self.params.evaluate.backends, self.params)[1]
        checker = CollisionChecker(self.params.robot, self.params.task)
        steps = self.first.rollouts.command.shape[1]

        def run(predict: Predict) -> ClosedLoop:
            rollouts = loop.run(predict, self.trials, steps, self.params.evaluate.seed)
            return judge(rollouts, self.trials, checker, self.params.task)

        return compare_backends(predictors, self.first, run)

    def _family(self, chosen: list[Condition]) -> list[Outcome]:
        evaluate = self.params.evaluate
        seed_planning(evaluate.seed)
        policy = load_on_cpu(self.model)
        predict = load_predictors(policy, evaluate.backends[:1], self.params)[0]
        suite = Suite(
            predict, make_loop(self.params, policy, self.rate_hz, 1),
            self.trials.first(evaluate.robustness_pens),
            Planner(self.params.robot, self.params.task, self.params.collect), self.params,
        )  # fmt: skip
        return list(suite.run(chosen))


def _needs_processes(params: Params) -> bool:
    return len(params.evaluate.backends) > 1 or params.evaluate.robustness != "off"
