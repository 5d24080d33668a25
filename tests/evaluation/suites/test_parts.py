"""Which parts of an evaluation are known, and which are measured in processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.judge import judge
from pipeline.evaluation.robustness import conditions
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.suites import parts
from pipeline.evaluation.suites.parts import Parts
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker


def made(params: Params, loop: Loop, trials: Trials, **evaluate: object) -> Parts:
    """Parts around an arm that stands still."""
    still = loop.replay(np.tile(loop.model.home, (len(trials), 20, 1)), trials)
    first = judge(still, trials, CollisionChecker(params.robot, params.task), params.task)
    return Parts(params.override("evaluate", **evaluate), Path("none.pt"), 30.0, trials, first)


def test_every_condition_is_known_or_measured(params: Params, loop: Loop, trials: Trials) -> None:
    whole = made(params, loop, trials, robustness="full", robustness_pens=2)
    [known] = whole.known()
    assert known.condition.name == "nominal_0"
    assert known.summary == whole.first.first(2, params.task).summary
    assert known.summary["n"] == 2 and known.summary["success_strict"] == 0
    measured = [condition for family in whole.families for condition in family]
    assert [known.condition, *measured] == conditions("full", 30.0)
    for family in whole.families:
        assert len({condition.family for condition in family}) == 1
    assert len(whole) == 1 + len(whole.families)


def test_what_is_off_is_not_measured_and_starts_no_process(
    params: Params, loop: Loop, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(parts, "start_server", never)
    monkeypatch.setattr(parts, "in_processes", never)
    monkeypatch.setattr(Parts, "_backends", lambda _: {"torch": {}})
    off = made(params, loop, trials, robustness="off", backends=("torch",))
    off.prepare(off.params)
    assert (off.known(), off.families, list(off.run())) == ([], [], [({"torch": {}}, [])])


@pytest.mark.parametrize(
    "change", [{"backends": ("torch", "onnxruntime")}, {"robustness": "short"}]
)
def test_what_will_need_processes_is_imported_meanwhile(
    params: Params, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(parts, "start_server", started.append)
    least = params.override("evaluate", robustness="off", backends=("torch",))
    Parts.prepare(least.override("evaluate", **change))
    assert started == [["pipeline.evaluation.suites.parts"]]
