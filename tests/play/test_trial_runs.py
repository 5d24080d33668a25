"""A trial of an evaluation is simulated again as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.execution import make_guard, make_rehearsal
from pipeline.evaluation.judge import judge
from pipeline.evaluation.results import write_table
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.obstacles import NAMES, box
from pipeline.params import Params
from pipeline.play.trial_runs import Trial, TrialError, TrialRunner, read_trials, trial_steps
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import RobotModel
from pipeline.robot.simulator import Simulator
from pipeline.runtime.session import RobotPolicy

COLUMNS = [
    "trial", *(f"pen_{kind}_{axis}" for kind in ("pos", "axis") for axis in "xyz"),
    "error_mm", "error_deg", "team", "strict", "tight", "collision_free", "collided",
]  # fmt: skip

BOX = box([0.4, 0.0, 0.5], [0.5, 0.5, 0.02])
NOTHING = np.zeros((0, len(NAMES)))


def row(trial: int, error_mm: float, passed: int, collided: int = 0) -> list[Any]:
    return [trial, 0.4, 0.0, 0.2, 0.0, 0.0, 1.0, error_mm, 1.0, 1, 1, 1, passed, collided]


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    rows = [row(0, 0.5, 1), row(1, 0.4, 0, 1), row(2, 0.9, 1), row(3, 30.0, 0)]
    write_table(tmp_path / "rollouts.csv", COLUMNS, rows)
    write_table(
        tmp_path / "failures.csv", ["trial", "class"], [[1, "collision"], [3, "wrong mode"]]
    )
    write_table(tmp_path / "trial_obstacles.csv", ["trial", *NAMES], [[1, *BOX], [1, *BOX]])
    write_table(tmp_path / "error_over_time.csv", ["time_s"], [[k] for k in range(150)])
    return tmp_path


def test_trials_are_listed_worst_first_with_their_class(evaluated: Path) -> None:
    found = read_trials(evaluated, "pen")
    assert [(trial.number, trial.kind) for trial in found] == [
        (3, "wrong mode"), (1, "collision"), (2, "success"), (0, "success"),
    ]  # fmt: skip
    assert found[1].collided and not found[1].passed
    assert [len(trial.obstacles) for trial in found] == [0, 2, 0, 0]
    np.testing.assert_allclose(found[1].obstacles, [BOX, BOX])
    assert trial_steps(evaluated) == 150


def test_files_that_are_missing_or_of_another_object_are_named(evaluated: Path) -> None:
    with pytest.raises(TrialError, match=r"rollouts\.csv: KeyError\('cup_pos_x'\)"):
        read_trials(evaluated, "cup")
    (evaluated / "rollouts.csv").unlink()
    with pytest.raises(TrialError, match=r"rollouts\.csv: no such file.*run evaluate"):
        read_trials(evaluated, "pen")
    (evaluated / "error_over_time.csv").unlink()
    assert trial_steps(evaluated) is None


def test_a_trial_runs_as_in_its_batch(params: Params, policy: RobotPolicy, trials: Trials) -> None:
    params = params.override("task", scene="bar")
    model = RobotModel.from_params(params.robot)
    loop = Loop(
        Simulator(params.robot, 30.0, params.evaluate.physics_steps), model, policy.layout, 16, 2,
        params.execution, 30.0, make_guard(params, model),
        rehearsal=make_rehearsal(params, model, policy.layout, 16, 30.0),
    )  # fmt: skip
    batch = loop.run(
        lambda obs, noise: np.asarray(policy.backend.predict(obs, noise), float),
        trials, 50, params.evaluate.seed,
    )  # fmt: skip
    result = judge(batch, trials, CollisionChecker(params.robot, params.task), params.task)
    guard = batch.execution.guard if batch.execution else None
    assert guard is not None
    # The guard drew other chunks for it, whose noise must be that of the batch.
    number = int(np.flatnonzero(guard.counts["resampled"])[-1])
    assert number > 0
    trial = Trial(
        number,
        trials.object_pos[number],
        trials.object_axis[number],
        0,
        0,
        True,
        False,
        "",
        NOTHING,
    )
    run = TrialRunner(params, policy, 50).run(trial)
    assert np.array_equal(run.motion.joint_pos[1:], batch.joint_pos[number])
    assert run.error_mm == pytest.approx(result.error.cap_m[number] * 1e3)
    assert run.passed == result.passed["collision_free"][number]
    assert len(run.motion.touching) == len(run.motion.times) == 51


def test_contacts_are_shown_at_their_step(
    params: Params, policy: RobotPolicy, trials: Trials
) -> None:
    unguarded = params.override("execution", guard="off").override(
        "task", scene="wall",
        scenes={"wall": [{"centre_m": [0.4, 0.0, 0.5], "size_m": [0.5, 0.5, 0.02]}]},
    )  # fmt: skip
    trial = Trial(0, trials.object_pos[0], trials.object_axis[0], 0, 0, True, False, "", NOTHING)
    run = TrialRunner(unguarded, policy, 60).run(trial)
    # An obstacle of the trial counts as one of the scene.
    own = TrialRunner(params.override("execution", guard="off"), policy, 60)
    assert own.run(replace(trial, obstacles=BOX[None])).motion.touching == run.motion.touching
    first = next(index for index, touching in enumerate(run.motion.touching) if touching)
    assert "obstacle 1" in run.motion.touching[first]
    assert run.contact == f"{' and '.join(run.motion.touching[first])} at step {first - 1}"
    assert run.guard == "" and not run.passed
