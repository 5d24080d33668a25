"""Signals set an event and are given back."""

from __future__ import annotations

import os
import signal

import pytest

from pipeline.ros2.signals import stop_event


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sets_the_event(name: signal.Signals) -> None:
    before = signal.getsignal(name)
    with stop_event() as stopped:
        assert not stopped.is_set()
        os.kill(os.getpid(), name)
        assert stopped.wait(60)
    assert signal.getsignal(name) is before
