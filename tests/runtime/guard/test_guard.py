"""Tests the guard's treatment of chunks with exact collision shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.clearance.objects import Objects
from pipeline.params import ExecutionParams, Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry
from pipeline.runtime.chunking import ChunkExecutor
from pipeline.runtime.guard.findings import VERDICTS
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.limiter import Limiter

Array = np.ndarray
RATE_HZ = 30.0
HORIZON = 16
PEN = Objects(np.array([[0.45, 0.0, 0.1]]), np.array([[0.0, 0.0, 1.0]]))


class Setting:
    """The arm in front of a box, and an exact collision checker."""

    def __init__(self, params: Params, **changes: Any) -> None:
        box = {"centre_m": [0.25, 0.25, 0.70], "size_m": [0.06, 0.06, 0.10]}
        self.params = params.override("task", scene="post", scenes={"post": [box]})
        self.checker = CollisionChecker(self.params.robot, self.params.task)
        robot = self.checker.model
        self.home, self.limits, self.joints = robot.home, robot.limits, robot.joints
        self.geometry = collision_geometry(self.params.robot, self.params.task)
        self.chain = kinematic_chain(robot)
        values = {"guard": "repair", **changes}
        self.execution: ExecutionParams = params.override("execution", **values).execution

    def guard(self) -> Guard:
        return Guard(self.execution, self.chain, self.joints, self.geometry, self.limits)

    def limiter(self, start: Array, velocity: Array | None = None) -> Limiter:
        limiter = Limiter(self.limits, RATE_HZ)
        limiter.reset(np.atleast_2d(start))
        if velocity is not None:  # as if it had been moving
            limiter.reset(np.atleast_2d(start - velocity / RATE_HZ))
            limiter._velocity[:] = velocity
            limiter.step(np.atleast_2d(start), np.atleast_2d(start + velocity / RATE_HZ))
        return limiter

    def touches(self, start: Array, sent: Array, pen: Objects = PEN) -> bool:
        """Whether a motion touches anything, 40 samples a step. (K, J)."""
        rows = np.concatenate([start[None], sent])
        share = np.linspace(0, 1, 40, endpoint=False)[:, None, None]
        swept = (rows[:-1] + share * np.diff(rows, axis=0)).reshape(-1, rows.shape[1])
        swept = np.concatenate([swept, rows[-1:]])
        return bool(self.checker.colliding(swept, pen.position[0], pen.axis[0]).any())

    def turning(self, speed: float, steps: int = HORIZON) -> Array:
        """A chunk that turns the whole arm towards the box, from rest. (K, J)."""
        times = np.arange(1, steps + 1) / RATE_HZ
        chunk = np.tile(self.home, (steps, 1))
        chunk[:, 0] += 0.5 * speed * times**2
        return chunk


@pytest.fixture(scope="module")
def setting(params: Params) -> Setting:
    return Setting(params)


def _before_the_box(setting: Setting) -> Array:
    """Home turned until the gripper stands some centimetres before the box."""
    q = setting.home.copy()
    while not setting.checker.collides(q, PEN.position[0], PEN.axis[0]):
        q[0] += 0.005
        assert q[0] < 2, "the box stands in the arm's way"
    q[0] -= 0.12
    return q


def test_a_free_chunk_comes_back_as_it_is(setting: Setting) -> None:
    plan = setting.turning(-1.0)[None]
    copy = plan.copy()
    guard = setting.guard()
    guard.reset(1)
    assert guard.review(plan, setting.limiter(setting.home), PEN) is plan
    np.testing.assert_array_equal(plan, copy)
    assert guard.report().total() == {**dict.fromkeys(VERDICTS, 0), "free": 1}
    assert str(guard.report().last[0]) == "free"


def _grazing(setting: Setting) -> tuple[Array, Array]:
    """A start and a chunk that sweeps through a corner of the box: (J,) and (K, J)."""
    start = _before_the_box(setting)
    chunk = np.tile(start, (HORIZON, 1))
    times = np.arange(1, HORIZON + 1) / RATE_HZ
    chunk[:, 0] += 0.5 * 2.0 * times**2
    return start, chunk


def test_a_chunk_driven_through_a_box_comes_back_free(setting: Setting) -> None:
    start, chunk = _grazing(setting)
    assert setting.touches(start, chunk)
    guard, limiter = setting.guard(), setting.limiter(start)
    guard.reset(1)
    sent = guard.review(chunk[None], limiter, PEN)
    previewed = limiter.preview(sent, np.array([0]))
    assert not setting.touches(start, previewed[0])
    found = guard.report().last[0]
    assert found.verdict == "repaired"
    assert found.second == "obstacle 1"
    assert found.clearance_m < 0
    # The arm keeps moving: the chunk was repaired, not held.
    assert np.abs(sent[0, -1] - start).max() > 0.1


def test_check_counts_and_changes_nothing(setting: Setting, params: Params) -> None:
    start, chunk = _grazing(setting)
    checking = Setting(params, guard="check")
    guard = checking.guard()
    guard.reset(1)
    plan = chunk[None]
    assert guard.review(plan, checking.limiter(start), PEN) is plan
    assert guard.report().total()["unsafe"] == 1
    assert guard.report().last[0].second == "obstacle 1"


def test_a_batch_gives_the_same_result_as_single_plans(setting: Setting) -> None:
    start, chunk = _grazing(setting)
    starts = np.stack([setting.home, start, start, setting.home])
    plans = np.stack(
        [setting.turning(-1.0), chunk, chunk * 0.9 + start * 0.1, setting.turning(1.0)]
    )
    pens = PEN.of(np.zeros(4, dtype=np.int64))
    guard = setting.guard()
    guard.reset(4)
    together = guard.review(plans, setting.limiter(starts), pens)
    for robot in range(4):
        alone = setting.guard()
        alone.reset(1)
        sent = alone.review(plans[robot : robot + 1], setting.limiter(starts[robot]), PEN)
        np.testing.assert_allclose(sent[0], together[robot], atol=1e-9)
        assert alone.report().last[0].verdict == guard.report().last[robot].verdict
    assert guard.report().total()["repaired"] >= 1


def test_where_nothing_helps_the_arm_stops_before_it_touches(params: Params) -> None:
    """Without repair steps and alternative chunks, stopping is the only option."""
    setting = Setting(params, guard_turns=1, guard_turn_rad=1e-6)
    start, chunk = _grazing(setting)
    guard, limiter = setting.guard(), setting.limiter(start)
    guard.reset(1)
    sent = guard.review(chunk[None], limiter, PEN)
    assert guard.report().last[0].verdict == "held"
    previewed = limiter.preview(sent, np.array([0]))[0]
    assert not setting.touches(start, previewed)
    np.testing.assert_array_equal(sent[0, -1], sent[0, -2])
    assert "obstacle 1" in str(guard.report().worst[0])


@pytest.mark.parametrize(("share", "followed", "own"), [(0.5, 8, False), (0.9, 4, True)])
def test_the_path_with_the_latest_stop_is_followed_and_the_first_of_equals(
    params: Params, share: float, followed: int, own: bool
) -> None:
    """The rest of the old plan leads to the box too, at a share of the chunk's speed."""
    setting = Setting(params, guard_turns=1, guard_turn_rad=1e-6)
    start, chunk = _grazing(setting)
    old = start + share * (chunk - start)
    guard, limiter = setting.guard(), setting.limiter(start)
    guard.reset(1)
    sent = guard.review(chunk[None], limiter, PEN, old=old[None])[0]
    np.testing.assert_allclose(sent[:followed], (chunk if own else old)[:followed], atol=1e-5)
    # The arm brakes from then on.
    assert (np.diff(sent[followed - 2 :, 0], 2) <= 1e-12).all()
    assert not setting.touches(start, limiter.preview(sent[None], np.array([0]))[0])


def test_another_chunk_is_taken_where_repair_does_not_help(params: Params) -> None:
    setting = Setting(params, guard_turns=1, guard_turn_rad=1e-6, guard_samples=3)
    start, chunk = _grazing(setting)
    away = 2 * start - chunk
    nearer = start + 0.5 * (away - start)

    def sampler(robots: Array, count: int) -> Array:
        assert robots.tolist() == [0]
        assert count == 3
        return np.stack([chunk, away, nearer])[None]

    guard, limiter = setting.guard(), setting.limiter(start)
    guard.reset(1)
    sent = guard.review(chunk[None], limiter, PEN, sampler)
    assert guard.report().last[0].verdict == "resampled"
    np.testing.assert_array_equal(sent[0], nearer)  # free, and nearer to what was asked for


def test_other_chunks_are_repaired_where_none_of_them_is_free(params: Params) -> None:
    setting = Setting(params, guard_turns=1, guard_turn_rad=0.015, guard_samples=3)
    start, chunk = _grazing(setting)
    near, far = (start + share * (chunk - start) for share in (0.34, 0.31))
    start, chunk, near, far = (np.stack([rows] * 2) for rows in (start, chunk, near, far))
    pens = PEN.of(np.zeros(2, dtype=np.int64))

    def sent(*samples: Array) -> Array:
        guard, limiter = setting.guard(), setting.limiter(start)
        guard.reset(2)
        plans = guard.review(chunk, limiter, pens, lambda *_: np.stack(samples, axis=1))
        assert [each.verdict for each in guard.report().last] == ["resampled"] * 2
        for robot, previewed in enumerate(limiter.preview(plans, np.arange(2))):
            assert not setting.touches(start[robot], previewed)
        return plans

    best = sent(chunk, far, near)
    np.testing.assert_array_equal(best, sent(near, near, near))
    assert (best != near).any(axis=(1, 2)).all()


def test_findings_are_those_of_the_robots_that_were_reviewed(setting: Setting) -> None:
    start, chunk = _grazing(setting)
    plans, starts = np.stack([chunk, setting.turning(-1.0)]), np.stack([start, setting.home])
    guard = setting.guard()
    guard.reset(3)
    assert [str(each) for each in guard.report().last] == ["free"] * 3
    which = np.array([2, 0])
    limiter, pens = setting.limiter(starts), PEN.of(np.zeros(2, int))
    guard.review(plans, limiter, pens, robots=which)
    report = guard.report()
    assert [each.verdict for each in report.last] == ["free", "free", "repaired"]
    assert report.worst[2].verdict == "repaired" and report.worst[0].verdict == "free"
    with pytest.raises(ValueError, match="longer"):
        guard.review(plans, limiter, pens, robots=which[:1])


def test_an_arm_that_is_too_near_already_may_move_away_or_stay(setting: Setting) -> None:
    start = _before_the_box(setting)
    start[0] += 0.11
    chunk = np.tile(start, (HORIZON, 1))
    chunk[:, 0] -= 0.5 * 1.5 * (np.arange(1, HORIZON + 1) / RATE_HZ) ** 2
    guard = setting.guard()
    guard.reset(1)
    for plan in (chunk[None], np.tile(start, (1, HORIZON, 1))):
        assert guard.review(plan, setting.limiter(start), PEN) is plan


def test_the_object_is_checked_at_its_observed_position(setting: Setting) -> None:
    guard = setting.guard()
    guard.reset(2)
    plan = np.stack([setting.turning(1.0)] * 2)
    tcp = setting.checker.model.fk(plan[0, -1])[:3]
    pens = Objects(np.array([tcp - [0, 0, 0.02], PEN.position[0]]), PEN.axis[[0, 0]])
    limiter = setting.limiter(np.stack([setting.home] * 2))
    guard.review(plan, limiter, pens)
    first, second = guard.report().last
    assert first.second == "pen"
    assert second.verdict == "free"
    assert guard.review(plan, limiter) is plan  # its position is unknown


def test_a_preview_is_what_is_sent(setting: Setting) -> None:
    """Also when the limits change the commands."""
    rng = np.random.default_rng(2)
    rows = setting.home + np.cumsum(rng.normal(0, 0.05, (3, HORIZON, 6)), axis=1)
    rows[2] = setting.turning(0.5)
    starts = np.tile(setting.home, (3, 1))
    limiter = setting.limiter(starts)
    previewed = limiter.preview(rows, np.arange(3))
    execution = setting.execution.model_copy(update={"mode": "chunk", "execute_steps": HORIZON})
    executor = ChunkExecutor(execution, setting.limits, HORIZON, RATE_HZ)
    executor.reset(starts)
    executor.add(rows)
    np.testing.assert_allclose(executor.commands(HORIZON), previewed, atol=1e-12)
    np.testing.assert_array_equal(previewed[2], rows[2])
    assert np.abs(previewed[0] - rows[0]).max() > 1e-3


@pytest.mark.parametrize("mode", ["chunk", "blend", "ensemble"])
def test_what_an_executor_sends_touches_nothing(setting: Setting, mode: str) -> None:
    """A policy that insists on turning into the box for two seconds."""
    start = _before_the_box(setting)
    execution = setting.execution.model_copy(update={"mode": mode})
    executor = ChunkExecutor(execution, setting.limits, HORIZON, RATE_HZ, guard=setting.guard())
    executor.reset(start[None])
    sent = [start]
    while len(sent) < 61:
        if executor.steps_left[0] == 0:
            chunk = np.tile(sent[-1], (HORIZON, 1))
            chunk[:, 0] += 0.03 * np.arange(1, HORIZON + 1)
            executor.add(chunk[None], objects=PEN)
        sent.append(executor.commands(1)[0, 0])
    assert not setting.touches(start, np.array(sent[1:]))
    report = executor.report().guard
    assert report is not None
    assert report.total()["held"] + report.total()["repaired"] > 0
