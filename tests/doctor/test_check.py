"""`ask` never raises an error: it returns the reason of a failure."""

from __future__ import annotations

import sys

import pytest

from pipeline.doctor import check


def test_errors_are_returned_only_if_the_command_fails() -> None:
    script = "import sys; print('said'); print('warned', file=sys.stderr); sys.exit({})"
    assert check.ask(sys.executable, "-c", script.format(0)) == (0, "said\n")
    assert check.ask(sys.executable, "-c", script.format(3)) == (3, "said\nwarned\n")


def test_a_missing_or_hanging_command_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, said = check.ask("no-such-command-here")
    assert code == 1 and "no-such-command-here" in said
    monkeypatch.setattr(check, "TIMEOUT_S", 0.2)
    code, said = check.ask(sys.executable, "-c", "import signal; signal.pause()")
    assert code == 1 and "timed out" in said
