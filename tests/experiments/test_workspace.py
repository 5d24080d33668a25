"""What a killed sweep left is mended, unless someone has changed it since."""

from __future__ import annotations

import pytest

from pipeline.experiments.dvc import Repository
from pipeline.experiments.grid import Point
from pipeline.experiments.workspace import JOURNAL, own_workspace


def _kill_in_a_run(tiny: Repository) -> str:
    """As a sweep leaves it that is killed while seed 7 runs."""
    path = tiny.root / "params.yaml"
    before = path.read_text()
    with own_workspace(tiny) as workspace:
        workspace.begin(Point({"train.seed": 7}))
        journal = (tiny.state / JOURNAL).read_text()
    path.write_text(before.replace("  seed: 0\n", "  seed: 7\n"))
    (tiny.root / "dvc.lock").write_text("schema: '2.0'\n")
    (tiny.state / JOURNAL).write_text(journal)
    return before


def test_it_is_mended(tiny: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    before = _kill_in_a_run(tiny)
    with own_workspace(tiny):
        assert (tiny.root / "params.yaml").read_text() == before
        assert not (tiny.root / "dvc.lock").exists()
    assert "brought back first" in capsys.readouterr().out
    assert not (tiny.state / JOURNAL).exists()


def test_someone_s_changes_stay(tiny: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    before = _kill_in_a_run(tiny)
    path = tiny.root / "params.yaml"
    mine = path.read_text().replace("lr: 1e-3", "lr: 9e-3")
    path.write_text(mine)
    with own_workspace(tiny):
        assert path.read_text() == mine
    assert path.read_text() == mine
    assert "left as it is" in capsys.readouterr().out
    assert (tiny.state / "params.before.yaml").read_text() == before
