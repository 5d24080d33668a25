"""The robustness suite is measured in processes, family by family, while evaluation goes on."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.judge import judge
from pipeline.evaluation.robustness import Outcome, conditions
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.suites import families
from pipeline.evaluation.suites.families import Families, undisturbed
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker
from tests.conftest import HANG_S


def made(params: Params, trials: Trials, robustness: str) -> Families:
    return Families(
        params.override("evaluate", robustness=robustness), Path("none.pt"), 30.0, trials
    )


def test_every_condition_is_known_or_measured(params: Params, loop: Loop, trials: Trials) -> None:
    still = loop.replay(np.tile(loop.model.home, (len(trials), 20, 1)), trials)
    first = judge(still, trials, CollisionChecker(params.robot, params.task), params.task)
    whole = made(params, trials, "full")
    [known] = undisturbed(whole.params.override("evaluate", robustness_pens=2), 30.0, first)
    assert known.condition.name == "nominal_0"
    assert known.summary == first.first(2, params.task).summary
    assert known.summary["n"] == 2 and known.summary["success_strict"] == 0
    measured = [condition for family in whole.conditions for condition in family]
    assert [known.condition, *measured] == conditions("full", 30.0)
    for family in whole.conditions:
        assert len({condition.family for condition in family}) == 1
    assert undisturbed(made(params, trials, "off").params, 30.0, first) == []


def test_a_suite_that_is_off_starts_no_process(
    params: Params, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(families, "start_server", never)
    monkeypatch.setattr(families, "in_processes", never)
    off = made(params, trials, "off")
    off.prepare(off.params)
    with off.measured() as outcomes:
        assert list(outcomes) == []


def test_what_the_processes_need_is_imported_meanwhile(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(families, "start_server", started.append)
    Families.prepare(params.override("evaluate", robustness="short"))
    assert started == [["pipeline.evaluation.suites.families"]]


def test_an_error_of_the_caller_cancels_the_families_that_have_not_begun(
    params: Params, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, failed, asked = threading.Event(), threading.Event(), []

    def measure(_: Families, number: int) -> list[Outcome]:
        asked.append(number)
        begun.set()
        assert failed.wait(HANG_S)
        return []

    monkeypatch.setattr(Families, "_in_process", measure)
    monkeypatch.setattr(families, "available_cores", lambda: 1)
    shutdown = families.ThreadPoolExecutor.shutdown

    def let_go(pool: families.ThreadPoolExecutor, **how: bool) -> None:
        shutdown(pool, **how)
        failed.set()

    monkeypatch.setattr(families.ThreadPoolExecutor, "shutdown", let_go)
    with pytest.raises(ValueError, match="ours"), made(params, trials, "short").measured():
        assert begun.wait(HANG_S)
        raise ValueError("ours")
    assert asked == [0]
