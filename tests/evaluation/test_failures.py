"""Tests each class of failure with a rollout that fails in that way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset.store import Dataset
from pipeline.evaluation import metrics
from pipeline.evaluation.failures import (
    CLASSES,
    Demonstrations,
    Failure,
    classify,
    count,
)
from pipeline.evaluation.judge import ClosedLoop, Contact
from pipeline.evaluation.rollout import Rollouts
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel

Array = np.ndarray
STEPS = 60


@pytest.fixture(scope="module")
def robot(params: Params) -> RobotModel:
    return RobotModel.from_params(params.robot)


@pytest.fixture(scope="module")
def paths(trials: Trials) -> Array:
    """The expert's motions, executed exactly. Shape (3, T, 6)."""
    return expert_commands(trials, 30.0, STEPS)


def _judged(
    joint_pos: Array, trials: Trials, robot: RobotModel, params: Params, collided: bool = False
) -> ClosedLoop:
    pose = robot.fk(joint_pos)
    error = metrics.reach_error(
        pose,
        trials.object_pos[:, None],
        trials.object_axis[:, None],
        params.task.object_length_m,
    )
    hits = np.full(len(joint_pos), collided)
    passed = metrics.success(error, hits, params.task)
    contacts = tuple(Contact(7, "finger", "pen") if hit else None for hit in hits)
    rollouts = Rollouts(joint_pos, joint_pos, pose, joint_pos)
    return ClosedLoop(rollouts, error, hits, contacts, passed, {})


def _demonstrations(trials: Trials, paths: Array) -> Demonstrations:
    """Episodes 10, 20 and 30 of a data set: the expert's paths to the same objects."""
    return Demonstrations(
        np.array([10, 20, 30]),
        trials.object_pos,
        trials.object_axis,
        paths.reshape(-1, 6),
        np.repeat([0, 1, 2], STEPS),
    )


@pytest.fixture
def classed(params: Params, trials: Trials, robot: RobotModel, paths: Array):  # type: ignore[no-untyped-def]
    def run(
        joint_pos: Array, collided: bool = False, known: Demonstrations | None = None
    ) -> list[Failure]:
        return classify(
            _judged(joint_pos, trials, robot, params, collided),
            _judged(paths, trials, robot, params),
            trials,
            known or _demonstrations(trials, paths),
            robot,
            params.task,
            params.evaluate.failures.model_copy(update={"neighbours": 1, "way_share": 0.01}),
        )

    return run


def _kinds(failures: list[Failure]) -> list[str]:
    return [failure.kind for failure in failures]


def test_a_success_is_no_failure(classed, paths: Array) -> None:  # type: ignore[no-untyped-def]
    assert classed(paths) == []


def test_touching_something_is_a_collision_however_well_it_ended(classed, paths: Array) -> None:  # type: ignore[no-untyped-def]
    assert _kinds(classed(paths, collided=True)) == ["collision"] * 3


def test_a_joint_held_at_its_limit_is_named(classed, paths: Array, robot: RobotModel) -> None:  # type: ignore[no-untyped-def]
    stuck = paths.copy()
    stuck[:, -20:, 3] = robot.upper[3]
    failures = classed(stuck)
    assert _kinds(failures) == ["limit"] * 3
    assert {failure.evidence.limit_joint for failure in failures} == {"joint_4"}


def test_arriving_and_leaving_again_is_an_overshoot(classed, paths: Array) -> None:  # type: ignore[no-untyped-def]
    left = paths.copy()
    left[:, -10:, 1] += 0.1
    assert _kinds(classed(left)) == ["overshoot"] * 3


def test_pushing_on_past_the_cap_is_an_overshoot(  # type: ignore[no-untyped-def]
    classed, paths: Array, trials: Trials, robot: RobotModel
) -> None:
    below = paths.copy()
    below[:] = paths[:, :1]
    for path, axis, goal in zip(below, trials.object_axis, paths[:, -1], strict=True):
        near = goal + np.random.default_rng(0).normal(0, 0.15, (20000, 6))
        ends = robot.fk(near)[:, :3] - robot.fk(goal)[:3]
        sideways = np.linalg.norm(ends - (ends @ axis)[:, None] * axis, axis=1)
        path[-5:] = near[np.argmin(sideways + np.abs(ends @ axis + 0.03))]
    failures = classed(below)
    assert _kinds(failures) == ["overshoot"] * 3
    assert all(failure.evidence.beyond_mm > 10 for failure in failures)


def test_a_pose_far_from_all_demonstrations_is_off_the_data(classed, paths: Array) -> None:  # type: ignore[no-untyped-def]
    lost = np.tile(paths[:, :1], (1, STEPS, 1))
    lost[:, -30:, 0] = 2.0
    failures = classed(lost)
    assert _kinds(failures) == ["off the data"] * 3
    assert all(failure.evidence.data_rad > 0.5 for failure in failures)


def test_an_object_far_from_all_demonstrated_ones_is_off_the_data(  # type: ignore[no-untyped-def]
    classed, trials: Trials, paths: Array
) -> None:
    known = _demonstrations(trials, paths)
    far = replace(known, object_pos=known.object_pos * 0.01 + np.array([2.0, 0, 0]))
    short = np.tile(paths[:, :1], (1, STEPS, 1))
    failures = classed(short, known=far)
    assert _kinds(failures) == ["off the data"] * 3
    assert all(failure.evidence.isolation > 1 for failure in failures)


def test_going_where_other_objects_demonstrations_go_is_the_wrong_mode(  # type: ignore[no-untyped-def]
    classed, trials: Trials, paths: Array
) -> None:
    known = _demonstrations(trials, paths)
    other = paths.copy()
    other[:, :, 0] += np.array([1.3, -1.3, 2.6])[:, None]
    elsewhere = replace(known, joint_pos=other.reshape(-1, 6))
    # Each arm does what the demonstration to another object does.
    assert _kinds(classed(other[[1, 2, 0]], known=elsewhere)) == ["wrong mode"] * 3


def test_standing_still_on_the_way_is_stopped_short(classed, paths: Array) -> None:  # type: ignore[no-untyped-def]
    short = np.minimum(np.arange(STEPS), 12)
    failures = classed(paths[:, short])
    assert _kinds(failures) == ["stopped short"] * 3
    assert [failure.nearest[0].episode for failure in failures] == [10, 20, 30]
    assert all(failure.nearest[0].offset_mm < 1e-9 for failure in failures)
    assert count(failures) == dict.fromkeys(CLASSES, 0) | {"stopped short": 3}


def test_a_lone_demonstration_can_be_compared_with(classed, trials: Trials, paths: Array) -> None:  # type: ignore[no-untyped-def]
    known = _demonstrations(trials, paths)
    lone = Demonstrations(
        known.episodes[:1], known.object_pos[:1], known.object_axis[:1],
        known.joint_pos[:STEPS], known.owner[:STEPS],
    )  # fmt: skip
    failures = classed(np.tile(paths[:, :1], (1, STEPS, 1)), known=lone)
    assert [failure.nearest[0].episode for failure in failures] == [10, 10, 10]
    assert all(failure.evidence.isolation == 0 for failure in failures)


def test_demonstrations_are_the_training_episodes_alone(params: Params) -> None:
    layout = Layout.from_params(params)
    state = np.zeros((9, 25), np.float32)
    state[:, 0] = np.arange(9)
    place = layout.field("object_pos").slice
    state[:, place] = np.repeat([1.0, 2.0, 3.0], [2, 3, 4])[:, None]
    ends, split = np.array([2, 5, 9]), np.array([0, 2, 0], np.int8)
    dataset = Dataset(Path("x"), state, state[:, :6], ends, split, 30.0, layout, {}, {})
    found = Demonstrations.from_dataset(dataset)
    assert found.episodes.tolist() == [0, 2]
    assert found.object_pos[:, 0].tolist() == [1, 3]
    assert found.joint_pos[:, 0].tolist() == [0, 1, 5, 6, 7, 8]
    assert found.owner.tolist() == [0, 0, 1, 1, 1, 1]


@given(st.floats(-20, 20), st.floats(-20, 20), st.integers(-3, 3))
def test_the_distance_of_a_continuous_joint_ignores_full_turns(
    a: float, b: float, turns: int
) -> None:
    first, second = np.array([[a, 0.0]]), np.array([b, 0.0])
    whole = np.array([turns * 2 * np.pi, 0.0])
    free, held = np.array([True, False]), np.array([False, False])
    distance = metrics.joint_distance(first, second, free)
    assert metrics.joint_distance(first + whole, second, free) == pytest.approx(distance, abs=1e-9)
    assert distance <= np.pi + 1e-9
    assert metrics.joint_distance(first, second, held) == pytest.approx(abs(a - b))
