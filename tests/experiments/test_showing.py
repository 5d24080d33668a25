"""Experiments become a table, a picture and a CSV file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.experiments.comparison import STRICT, ComparisonError
from pipeline.experiments.dvc import Experiment, Repository
from pipeline.experiments.showing import show
from pipeline.run import OutputError

FOUND = [
    Experiment("main", {"a_section.with_a_parameter_of_a_long_name": 1e-3}, {}),
    Experiment("sweep-a", {"a_section.with_a_parameter_of_a_long_name": 3e-4}, {STRICT: 0.5}),
    Experiment("sweep-b", {"a_section.with_a_parameter_of_a_long_name": 1e-4}, {STRICT: 0.75}),
]


def test_what_is_asked_for_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Repository, "experiments", lambda self: FOUND)
    out = tmp_path / "sweep"
    show(Repository(tmp_path), set(), out, STRICT, least=False)
    printed = capsys.readouterr().out
    assert "a_section.with_a_parameter_of_a_long_name" in printed
    assert "training s" in printed, "whole at any width"
    assert "main" not in printed, "the commit itself has no metrics"
    assert printed.index("sweep-b") < printed.index("sweep-a")
    assert {path.name for path in out.iterdir()} == {".stage", "comparison.csv", "comparison.png"}
    show(Repository(tmp_path), {"sweep-a"}, out, STRICT, least=False)
    assert "sweep-b" not in (out / "comparison.csv").read_text()
    with pytest.raises(ComparisonError):
        show(Repository(tmp_path), {"sweep-c"}, out, STRICT, least=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(OutputError):
        show(Repository(tmp_path), set(), tmp_path / "mine", STRICT, least=False)
