"""Chunk execution: which row is sent when, in every mode and at every rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.clearance.objects import Objects
from pipeline.evaluation.execution import make_guard
from pipeline.kinematics import JointLimits
from pipeline.obstacles import box
from pipeline.params import ExecutionParams, Params
from pipeline.robot.model import RobotModel
from pipeline.runtime.chunking import ChunkExecutor, ExecutionError, resample_chunk
from tests.fixtures.execution import UNGUARDED

Array = NDArray[np.float64]
FREE = JointLimits(
    lower=np.full(2, -np.inf),
    upper=np.full(2, np.inf),
    velocity=np.full(2, 1e9),
    acceleration=np.full(2, 1e9),
)
HORIZON = 8


def _executor(
    limits: JointLimits = FREE, control_hz: float = 10.0, **changes: Any
) -> ChunkExecutor:
    values = {
        "mode": "chunk", "execute_steps": 3, "blend_steps": 2, "ensemble_decay": 0.1,
        "noise_scale": 1.0,
        "object_window": 1, "object_jump_m": 1.0, "object_jump_deg": 90.0,
        "object_jump_observations": 1, **UNGUARDED,
    }  # fmt: skip
    params = ExecutionParams.model_validate({**values, **changes})
    executor = ChunkExecutor(params, limits, HORIZON, 10.0, control_hz)
    executor.reset(np.zeros((1, 2)))
    return executor


def _chunk(value: float, slope: float = 0.0) -> Array:
    rows = value + slope * np.arange(1, HORIZON + 1)
    return np.tile(rows[None, :, None], (1, 1, 2))


def test_a_chunk_s_first_rows_are_sent_then_the_next_is_wanted() -> None:
    executor = _executor()
    assert executor.steps_left == 0
    executor.add(_chunk(0, 0.1))
    assert executor.steps_left == 3
    assert executor.commands(2)[0, :, 0] == pytest.approx([0.1, 0.2])
    assert executor.steps_left == 1
    executor.commands(1)
    executor.add(_chunk(5))
    assert executor.commands(3)[0, :, 0] == pytest.approx([5, 5, 5])
    report = executor.report()
    assert report.border.tolist() == [[True, False, False, True, False, False]]
    assert report.commands == 12
    assert report.clipped == {"position": 0, "velocity": 0, "acceleration": 0}


def test_blending_fades_linearly_and_ends_in_the_new_chunk() -> None:
    executor = _executor(mode="blend")
    executor.add(_chunk(0))
    executor.commands(3)
    executor.add(_chunk(3))
    assert executor.commands(3)[0, :, 0] == pytest.approx([1, 2, 3])


def test_blending_equal_chunks_changes_nothing() -> None:
    executor = _executor(mode="blend", execute_steps=2, blend_steps=4)
    sent = []
    for start in range(0, 6, 2):
        executor.add(_chunk(0.1 * start, 0.1))
        sent.append(executor.commands(2))
    assert np.concatenate(sent, axis=1)[0, :, 1] == pytest.approx(0.1 * np.arange(1, 7))


def test_an_ensemble_weighs_the_oldest_chunk_most() -> None:
    executor = _executor(mode="ensemble")
    sent = []
    for value in (0.0, 1.0, 2.0):
        assert executor.steps_left == 0
        executor.add(_chunk(value))
        sent.append(float(executor.commands(1)[0, 0, 0]))
    weights = np.exp(-0.1 * np.arange(3))
    assert sent == pytest.approx(
        [0.0, weights[1] / weights[:2].sum(), (weights[1] + 2 * weights[2]) / weights.sum()]
    )


def test_an_ensemble_forgets_chunks_that_have_ended() -> None:
    executor = _executor(mode="ensemble", ensemble_decay=0.0)
    executor.add(_chunk(100.0))
    executor.commands(1)
    for _ in range(HORIZON):
        executor.add(_chunk(1.0))
        last = executor.commands(1)
    assert last[0, 0, 0] == pytest.approx(1.0)


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["chunk", "blend", "ensemble"]),
    execute=st.integers(1, 4),
    control_hz=st.sampled_from([5.0, 10.0, 17.0, 50.0]),
    seed=st.integers(0, 1000),
)
def test_chunks_that_agree_are_followed_exactly_in_every_mode_at_every_rate(
    mode: str, execute: int, control_hz: float, seed: int
) -> None:
    # A straight line is the same curve from wherever one starts on it.
    slope = np.random.default_rng(seed).uniform(-1, 1, (1, 1, 2))
    executor = _executor(mode=mode, execute_steps=execute, control_hz=control_hz, blend_steps=3)
    done = 0
    for _ in range(5):
        ahead = done / control_hz + np.arange(1, HORIZON + 1) / 10.0
        executor.add(slope * ahead[None, :, None])
        count = int(executor.steps_left[0])
        expected = slope * ((done + np.arange(1, count + 1)) / control_hz)[None, :, None]
        assert executor.commands(count) == pytest.approx(expected, abs=1e-9)
        done += count
    assert executor.report().largest_change_rad < 1e-9


@pytest.mark.parametrize("mode", ["chunk", "blend", "ensemble"])
def test_batches_are_robots_on_their_own(mode: str) -> None:
    rng = np.random.default_rng(0)
    limits = JointLimits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, 2.0), np.full(2, 5.0))
    together = _executor(limits, mode=mode)
    together.reset(np.zeros((4, 2)))
    alone = [_executor(limits, mode=mode) for _ in range(4)]
    for _ in range(12):
        wanted = together.steps_left == 0
        assert wanted.tolist() == [executor.steps_left[0] == 0 for executor in alone]
        chunks = rng.standard_normal((4, HORIZON, 2))
        if wanted.any():
            together.add(chunks[wanted], robots=wanted)
        sent = together.commands(1)
        interrupted = rng.random(4) < 0.3
        together.interrupt(interrupted)
        for robot, executor in enumerate(alone):
            if wanted[robot]:
                executor.add(chunks[robot : robot + 1])
            assert np.array_equal(executor.commands(1)[0], sent[robot])
            if interrupted[robot]:
                executor.interrupt()
    report = together.report()
    assert mode == "ensemble" or len({tuple(row) for row in report.border.tolist()}) == 4
    assert report.border.tolist() == [executor.report().border[0].tolist() for executor in alone]
    assert report.clipped == {
        kind: sum(executor.report().clipped[kind] for executor in alone)
        for kind in ("position", "velocity", "acceleration")
    }


def test_a_chunk_that_is_late_leaves_the_last_row_held() -> None:
    executor = _executor()
    executor.add(_chunk(0, 0.1))
    sent = executor.commands(HORIZON + 2)[0, :, 0]
    assert sent[-3:] == pytest.approx([0.8, 0.8, 0.8])
    assert executor.report().starved_steps == 2
    assert executor.steps_left == 0


def test_without_a_chunk_the_robot_stands_still() -> None:
    executor = _executor()
    executor.reset(np.array([[0.3, -0.2]]))
    assert executor.commands(2)[0] == pytest.approx(np.array([[0.3, -0.2]] * 2))


@pytest.mark.parametrize("mode", ["chunk", "blend", "ensemble"])
def test_an_interruption_wants_a_chunk_at_once_and_drops_the_old_one(mode: str) -> None:
    executor = _executor(mode=mode)
    executor.add(_chunk(1.0))
    executor.commands(1)
    executor.interrupt()
    assert executor.steps_left == 0
    executor.add(_chunk(2.0))
    assert executor.commands(1)[0, 0, 0] == 2.0


def test_a_reset_forgets_everything() -> None:
    executor = _executor(mode="blend")
    executor.add(_chunk(7))
    executor.commands(3)
    executor.reset(np.ones((2, 2)))
    assert executor.steps_left.tolist() == [0, 0]
    assert executor.report().commands == 0
    executor.add(np.ones((2, HORIZON, 2)))
    assert executor.commands(1) == pytest.approx(np.ones((2, 1, 2)))


@settings(max_examples=30, deadline=None)
@given(ratio=st.floats(0.3, 4.0), seed=st.integers(0, 1000))
def test_resampling_keeps_quadratics_and_the_chunk_s_duration(ratio: float, seed: int) -> None:
    a, b, c = np.random.default_rng(seed).standard_normal(3)
    time = np.arange(1, HORIZON + 1) / 10.0
    chunk = (a * time**2 + b * time + c)[None, :, None]
    found = resample_chunk(chunk, 10.0, 10.0 * ratio)
    wanted = np.arange(1, found.shape[1] + 1) / (10.0 * ratio)
    assert wanted[-1] == pytest.approx(0.8, abs=0.1 / ratio)
    # Up to the second row the straight continuation before the first shows.
    inner = (wanted >= 0.2) & (wanted <= 0.7)
    exact = a * wanted**2 + b * wanted + c
    assert found[0, inner, 0] == pytest.approx(exact[inner], abs=1e-9)


@pytest.mark.parametrize("control_hz", [5.0, 10.0, 50.0])
def test_a_chunk_of_one_row_is_that_row_at_every_rate(control_hz: float) -> None:
    chunk = np.array([[[0.3, -0.2]], [[1.0, 2.0]]])
    np.testing.assert_array_equal(resample_chunk(chunk, 10.0, control_hz), chunk)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"execute_steps": 9}, "need 9 steps of a chunk, but the policy predicts 8"),
        ({"mode": "blend", "execute_steps": 5, "blend_steps": 4}, "need 9 steps"),
    ],
)
def test_chunks_too_short_for_the_parameters_are_refused(changes: Any, words: str) -> None:
    with pytest.raises(ExecutionError, match=words):
        _executor(**changes)
    _executor(**changes | {"execute_steps": changes["execute_steps"] - 1})


def test_without_other_chunks_the_guard_stops_an_arm_that_repair_cannot_turn_away(
    params: Params,
) -> None:
    robot = RobotModel.from_params(params.robot)
    params = params.override("execution", guard="repair", guard_turns=1, guard_samples=4)
    guard, rest = make_guard(params, robot), np.tile(robot.home, (1, 16, 1))
    executor = ChunkExecutor(params.execution, robot.limits, 16, 30.0, guard=guard)
    executor.reset(robot.home[None])
    x, y, z = robot.fk(robot.home)[:3]
    aside = box([x, y + 0.15, z], [0.3, 0.1, 0.3])[None, None]
    into_it = rest + 0.06 * np.arange(1, 17)[:, None] * np.eye(6)[0]
    executor.add(into_it, objects=Objects.unknown(1, aside))
    report = executor.report().guard
    assert report is not None and report.last[0].verdict == "held"
    assert executor.commands(16) == pytest.approx(rest)


def test_what_does_not_fit_is_refused() -> None:
    executor = _executor()
    with pytest.raises(ExecutionError, match=r"shape \(1, 7, 2\), expected \(1, 8, 2\)"):
        executor.add(np.zeros((1, 7, 2)))
    with pytest.raises(ExecutionError, match="not finite"):
        executor.add(np.full((1, 8, 2), np.nan))
    with pytest.raises(ExecutionError, match=r"expected \(N, 2\)"):
        executor.reset(np.zeros(2))
