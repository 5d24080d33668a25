"""A watched session commands what a plain one does, and shows its chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.play.watched_session import WatchedSession
from pipeline.runtime.session import RobotPolicy, Session

OBSERVATION = {
    "joint_pos": np.array([0.0, -0.3, 0.8, 0.0, 1.57, 0.0]),
    "object_pos": np.array([0.4, 0.0, 0.2]),
    "object_axis": np.array([0.0, 0.0, 1.0]),
}


def test_it_commands_what_a_plain_session_does(policy: RobotPolicy) -> None:
    plain = Session(policy.backend, policy.deployment, seed=3)
    watched = WatchedSession(policy.backend, policy.deployment, 3, None)
    for _ in range(20):
        assert np.array_equal(watched.act(OBSERVATION), plain.act(OBSERVATION))
    assert watched.finding == plain.finding


def test_it_shows_a_chunk_when_one_was_computed(policy: RobotPolicy) -> None:
    chunked = replace(policy.deployment.execution, mode="chunk", execute_steps=6, guard="off")
    session = WatchedSession(policy.backend, replace(policy.deployment, execution=chunked), 0, None)
    shown = []
    for _ in range(12):
        session.act(OBSERVATION)
        shown.append(session.chunk is not None)
    assert shown == [True, *[False] * 5] * 2
    assert session.seconds > 0


def test_what_is_upcoming_is_the_rest_of_the_chunk(policy: RobotPolicy) -> None:
    chunked = replace(policy.deployment.execution, mode="chunk", execute_steps=6, guard="off")
    session = WatchedSession(policy.backend, replace(policy.deployment, execution=chunked), 0, None)
    session.act(OBSERVATION)
    chunk = session.chunk
    assert chunk is not None
    # The first row was just sent; the last one is held.
    assert session.upcoming == pytest.approx(np.concatenate([chunk[1:], chunk[-1:]]))
