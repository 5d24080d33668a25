"""The workspace is restored after a killed sweep, unless params.yaml was edited since."""

from __future__ import annotations

import pytest

from pipeline.experiments.dvc import Repository
from pipeline.experiments.grid import Point
from pipeline.experiments.workspace import JOURNAL, locked_workspace

from .fake_dvc import FakeDvc


def _kill_in_a_run(tiny: Repository) -> str:
    """Leave the workspace as a sweep does that is killed during the run of seed 7."""
    path = tiny.root / "params.yaml"
    before = path.read_text()
    with locked_workspace(tiny) as workspace:
        workspace.record(Point({"train.seed": 7}))
        journal = (tiny.state / JOURNAL).read_text()
    path.write_text(before.replace("  seed: 0\n", "  seed: 7\n"))
    (tiny.root / "dvc.lock").write_text("schema: '2.0'\n")
    (tiny.state / JOURNAL).write_text(journal)
    return before


def test_it_is_restored(tiny: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    result = tiny.root / "result.txt"
    result.write_text("before")
    tiny.output("dvc", "add", "-q", "result.txt")
    before = _kill_in_a_run(tiny)
    result.write_text("of the run")
    with locked_workspace(tiny):
        assert (tiny.root / "params.yaml").read_text() == before
        assert not (tiny.root / "dvc.lock").exists()
        assert result.read_text() == "before"
    assert "restored first" in capsys.readouterr().out
    assert not (tiny.state / JOURNAL).exists()


def test_results_that_are_not_in_the_cache_are_mentioned(
    tiny: Repository, fake_dvc: FakeDvc, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _kill_in_a_run(tiny)
    fake_dvc.refuse_checkouts()
    with locked_workspace(tiny):
        assert (tiny.root / "params.yaml").read_text() == before
    assert "some results are not in the cache" in capsys.readouterr().out
    assert not (tiny.state / JOURNAL).exists()


def test_later_edits_are_kept(tiny: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    before = _kill_in_a_run(tiny)
    path = tiny.root / "params.yaml"
    mine = path.read_text().replace("lr: 1e-3", "lr: 9e-3")
    path.write_text(mine)
    with locked_workspace(tiny):
        assert path.read_text() == mine
    assert path.read_text() == mine
    assert "not restored" in capsys.readouterr().out
    assert (tiny.state / "params.before.yaml").read_text() == before
