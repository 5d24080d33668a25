from __future__ import annotations

import os
import signal

import pytest

from pipeline.training.interruption import StopSignal


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_is_remembered_and_the_second_ends(number: int, status: int) -> None:
    with StopSignal() as stop:
        assert stop.number == 0
        os.kill(os.getpid(), number)
        assert stop.number == number
        assert stop.status == status
        assert stop.name == signal.Signals(number).name
        with pytest.raises(SystemExit) as ended:
            os.kill(os.getpid(), number)
            signal.getsignal(number)
        assert ended.value.code == status


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignal():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
