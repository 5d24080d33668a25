from __future__ import annotations

from contextlib import closing
from functools import partial

import numpy as np
import pytest

from pipeline.params import Params
from pipeline.processes import in_processes
from pipeline.robot.demonstrations import SHARD_TRIES, Try, demonstrate
from pipeline.robot.retime import is_straight


@pytest.fixture(scope="module")
def tries(params: Params) -> list[Try]:
    work = partial(demonstrate, params.robot, params.task, params.collect)
    with closing(in_processes(work, 1, [])) as shards:
        return next(shards)


def test_each_try_of_a_shard_has_a_demonstration_or_a_reason(tries: list[Try]) -> None:
    assert len(tries) == SHARD_TRIES
    assert all((one.demonstration is None) == (one.reason is not None) for one in tries)
    assert sum(one.demonstration is not None for one in tries) > SHARD_TRIES / 2


def test_executions_start_at_home_and_settle_at_the_cap(tries: list[Try], params: Params) -> None:
    collect = params.collect
    for one in tries:
        done = one.demonstration
        if done is None:
            continue
        assert done.t[0] == 0
        assert np.diff(done.t) == pytest.approx(1 / collect.joint_state_hz)
        overhang = done.plan.duration_s + collect.hold_s - done.t[-1]
        assert 0 <= overhang <= 1 / collect.joint_state_hz + 1e-9
        assert done.joint_pos[0] == pytest.approx(params.robot.home_rad)
        assert done.joint_vel[[0, -1]] == pytest.approx(0.0, abs=1e-3)
        assert done.end_error_m < 5e-4
        assert done.end_error_deg < 0.05


def test_the_servo_follows_the_plan_with_a_lag(tries: list[Try]) -> None:
    done = next(one.demonstration for one in tries if one.demonstration is not None)
    behind = np.abs(done.plan.sample(done.t) - done.joint_pos).max()
    assert 0.005 < behind < 0.2


def _bent_share(params: Params) -> float:
    work = partial(demonstrate, params.robot, params.task, params.collect)
    with closing(in_processes(work, 1, [])) as shards:
        done = [one.demonstration for one in next(shards) if one.demonstration is not None]
    return sum(not is_straight(one.plan.joint_pos) for one in done) / max(len(done), 1)


def test_straight_demonstrations_are_left_out_as_asked(params: Params) -> None:
    scene = params.override("task", scene="bar")
    assert _bent_share(scene) < 1
    assert _bent_share(scene.override("collect", straight_share=0.0)) == 1
