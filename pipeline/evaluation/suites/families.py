"""Measures the robustness suite in processes of their own, a family of conditions in each.

Each builds its own policy, loop and planner, so its result depends neither on the number of
processes nor on the other families.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import torch

from pipeline.evaluation.execution import make_guard, make_rehearsal
from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.predictors import load_predictors
from pipeline.evaluation.robustness import NOMINAL, Condition, Outcome, Suite, conditions
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.machine import available_cores
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.policy.observation import obstacle_slots
from pipeline.processes import in_processes, start_server
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner, seed_planning
from pipeline.robot.simulator import Simulator


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
class Families:
    """The conditions of the robustness suite that disturb something, by family."""

    params: Params
    model: Path
    """The checkpoint."""
    rate_hz: float
    """Control steps per second."""
    trials: Trials
    """N trials, of which the suite takes the first ones."""

    @staticmethod
    def prepare(params: Params) -> None:
        """Start to import what the processes need, where there will be any.

        Args:
            params: section evaluate.
        """
        if params.evaluate.robustness != "off":
            start_server([__name__])

    @property
    def conditions(self) -> list[list[Condition]]:
        """The conditions of each family; empty if the suite is off."""
        size = self.params.evaluate.robustness
        chosen = [] if size == "off" else conditions(size, self.rate_hz)
        groups = groupby(chosen, key=lambda condition: condition.family)
        return [list(group) for family, group in groups if family != NOMINAL]

    @contextmanager
    def measured(self) -> Iterator[Iterator[list[Outcome]]]:
        """Measure in a process per core, while the caller goes on; an early end cancels the rest.

        Yields:
            The outcomes of each family; the iterator waits for them, and raises RobustnessError
            where a condition cannot be set up, WorkerError where a process died.
        """
        with ThreadPoolExecutor(available_cores()) as pool:
            try:
                yield pool.map(self._in_process, range(len(self.conditions)))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _in_process(self, number: int) -> list[Outcome]:
        [found] = in_processes(partial(self._measure, number), 1, [__name__], 1)
        return found

    def _measure(self, number: int, _: int) -> list[Outcome]:
        evaluate = self.params.evaluate
        seed_planning(evaluate.seed)
        policy = load_on_cpu(self.model)
        predict = load_predictors(policy, evaluate.backends[:1], self.params)[0]
        suite = Suite(
            predict, make_loop(self.params, policy, self.rate_hz, 1),
            self.trials.first(evaluate.robustness_pens),
            Planner(self.params.robot, self.params.task, self.params.collect), self.params,
        )  # fmt: skip
        return list(suite.run(self.conditions[number]))


def undisturbed(params: Params, rate_hz: float, rollouts: ClosedLoop) -> list[Outcome]:
    """Outcome of the suite's condition without a disturbance; none if the suite is off.

    Args:
        params: sections evaluate and task.
        rate_hz: control steps per second.
        rollouts: of all trials. A rollout does not depend on the rest of its batch.
    """
    evaluate = params.evaluate
    if evaluate.robustness == "off":
        return []
    nominal = rollouts.first(evaluate.robustness_pens, params.task)
    return [Outcome(conditions("short", rate_hz)[0], nominal.summary)]
