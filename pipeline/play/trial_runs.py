"""Reads the trials of an evaluation and simulates one of them again, step by step the same."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.evaluation.execution import guard_finding, make_guard, make_rehearsal
from pipeline.evaluation.judge import ClosedLoop, judge
from pipeline.evaluation.results import OBSTACLES
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.obstacles import NAMES
from pipeline.params import Params
from pipeline.play.motion import Motion
from pipeline.policy.observation import obstacle_slots
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator
from pipeline.runtime.session import RobotPolicy

Array = NDArray[np.float64]


class TrialError(PipelineError):
    """The trials of an evaluation are missing or cannot be read."""


@dataclass(frozen=True)
class Trial:
    """One row of rollouts.csv."""

    number: int
    object_pos: Array
    """Centre, m, base frame. Shape (3,)."""
    object_axis: Array
    """Unit axis. Shape (3,)."""
    error_mm: float
    """Distance from the cap at the end, mm."""
    error_deg: float
    passed: bool
    """Strict success without contact."""
    collided: bool
    kind: str
    """Class of the failure, or success."""
    obstacles: Array
    """Obstacles in addition to the scene's. Shape (M, 12)."""


@dataclass(frozen=True)
class TrialRun:
    """A trial that was simulated again. T control steps."""

    motion: Motion
    error_mm: Array
    """Distance from the cap after each step, mm. Shape (T,)."""
    error_deg: Array
    """Angle to the object's axis after each step, degrees. Shape (T,)."""
    passed: bool
    contact: str
    """The first contact; empty if there was none."""
    guard: str
    """The guard's worst finding; empty if every chunk was free."""


def read_trials(folder: Path, object_name: str) -> list[Trial]:
    """Read the trials of an evaluation, worst first: failures, then by the error at the end.

    Args:
        folder: folder that evaluate wrote.
        object_name: name of the object, which names the columns.

    Raises:
        TrialError: rollouts.csv is missing or lacks a column.
    """
    path = folder / "rollouts.csv"
    if not path.is_file():
        raise TrialError(
            f"{path}: no such file; expected what evaluate writes: run evaluate, or name its "
            "folder with --evaluation"
        )
    kinds = {}
    if (folder / "failures.csv").is_file():
        with (folder / "failures.csv").open(newline="") as file:
            kinds = {row["trial"]: row["class"] for row in csv.DictReader(file)}
    try:
        with path.open(newline="") as file:
            around = _obstacles(folder / OBSTACLES)
            found = [
                _trial(row, object_name, kinds.get(row["trial"], ""), around)
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise TrialError(
            f"{path}: {error!r} while reading; expected the columns that evaluate writes for the "
            f"object {object_name!r}: run evaluate again"
        ) from error
    return sorted(found, key=lambda trial: (trial.passed, -trial.error_mm))


def _obstacles(path: Path) -> dict[str, list[list[float]]]:
    """The obstacles of each trial; none where evaluate wrote no such file."""
    found: dict[str, list[list[float]]] = {}
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["trial"], []).append([float(row[name]) for name in NAMES])
    return found


def _trial(
    row: dict[str, str], name: str, kind: str, around: dict[str, list[list[float]]]
) -> Trial:
    position, axis = (
        np.array([float(row[f"{name}_{what}_{part}"]) for part in "xyz"])
        for what in ("pos", "axis")
    )
    passed = row["collision_free"] == "1"
    return Trial(
        int(row["trial"]), position, axis / np.linalg.norm(axis), float(row["error_mm"]),
        float(row["error_deg"]), passed, row["collided"] == "1",
        kind or ("success" if passed else "failure"),
        np.array(around.get(row["trial"], [])).reshape(-1, len(NAMES)),
    )  # fmt: skip


def trial_steps(folder: Path) -> int | None:
    """Read the number of control steps of an evaluation's rollouts; None if it is unknown.

    Args:
        folder: folder that evaluate wrote.
    """
    path = folder / "error_over_time.csv"
    if not path.is_file():
        return None
    with path.open(newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


class TrialRunner:
    """Simulates trials of an evaluation again, with the exported policy."""

    def __init__(self, params: Params, policy: RobotPolicy, steps: int | None) -> None:
        """Build the loop.

        Args:
            params: the parameters of the evaluation.
            policy: the exported policy.
            steps: control steps of a rollout; None for `evaluate.rollout_steps`.
        """
        self._params, self._policy = params, policy
        self._steps = steps or params.evaluate.rollout_steps
        self.model = RobotModel.from_params(params.robot)
        self._checker = CollisionChecker(params.robot, params.task)

    def run(self, trial: Trial) -> TrialRun:
        """Simulate a trial.

        Args:
            trial: the trial.
        """
        params, backend = self._params, self._policy.backend
        rate, horizon = self._policy.control_hz, int(backend.config["horizon"])
        loop = Loop(
            Simulator(params.robot, rate, params.evaluate.physics_steps, threads=1), self.model,
            backend.layout, horizon, int(backend.config["n_obs_steps"]),
            params.execution, rate, make_guard(params, self.model),
            obstacle_slots(backend.config),
            make_rehearsal(params, self.model, backend.layout, horizon, rate),
        )  # fmt: skip
        trials = Trials(
            trial.object_pos[None], trial.object_axis[None], (self._rest(),), 1, (trial.obstacles,)
        )
        rollouts = loop.run(
            lambda obs, noise: np.asarray(backend.predict(obs, noise), float),
            trials, self._steps, params.evaluate.seed + trial.number,
        )  # fmt: skip
        result = judge(rollouts, trials, self._checker, params.task)
        contact = result.contacts[0]
        return TrialRun(
            self._motion(result, trial, rate),
            result.error.cap_m[0] * 1e3,
            result.error.angle_deg[0],
            bool(result.passed["collision_free"][0]),
            "" if contact is None else str(contact),
            guard_finding(rollouts, 0),
        )

    def _rest(self) -> Plan:
        """A plan that stays at home; the loop asks for none, but every trial has one."""
        home = self.model.home[None]
        return Plan(np.zeros(1), home, np.zeros_like(home), np.zeros_like(home))

    def _motion(self, result: ClosedLoop, trial: Trial, rate_hz: float) -> Motion:
        rollouts = result.rollouts
        every, motion = rollouts.physics_steps, rollouts.motion[0]
        pose = trial.object_pos, trial.object_axis
        touching: list[tuple[str, ...]] = [()]
        for start in range(0, len(motion) - 1, every):
            found = self._checker.first_contact(motion[start : start + every + 1], *pose)
            touching.append(() if found is None else found[1:])
        joint_pos = motion[::every]
        times = np.arange(len(joint_pos)) / rate_hz
        return Motion(times, joint_pos, pose, touching, trial.obstacles)
