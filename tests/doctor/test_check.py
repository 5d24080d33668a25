"""A command that only looks never raises: what went wrong is part of the answer."""

from __future__ import annotations

import sys

import pytest

from pipeline.doctor import check


def test_what_a_command_says_is_passed_on_with_its_complaints_only_where_it_fails() -> None:
    script = "import sys; print('said'); print('warned', file=sys.stderr); sys.exit({})"
    assert check.ask(sys.executable, "-c", script.format(0)) == (0, "said\n")
    assert check.ask(sys.executable, "-c", script.format(3)) == (3, "said\nwarned\n")


def test_a_command_that_is_missing_or_hangs_is_an_answer_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, said = check.ask("no-such-command-here")
    assert code == 1 and "no-such-command-here" in said
    monkeypatch.setattr(check, "TIMEOUT_S", 0.2)
    code, said = check.ask(sys.executable, "-c", "import signal; signal.pause()")
    assert code == 1 and "timed out" in said
