"""Names depend on all that a run depends on, and on nothing else."""

from __future__ import annotations

import pytest

from pipeline.experiments.dvc import Repository
from pipeline.repository import RepositoryError, last_lines


def _name(tiny: Repository, *settings: str) -> str:
    (run,) = tiny.runs(settings or ("train.lr=1e-4",))
    return run.name


def test_names(tiny: Repository) -> None:
    first = _name(tiny)
    assert first == _name(tiny, "train.lr=0.0001") == _name(tiny, "train.lr=1e-4", "train.seed=0")
    assert first != _name(tiny, "train.lr=2e-4")
    params = tiny.root / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("lr: 1e-3", "lr: 5e-3"))
    assert _name(tiny) == first, "the value is set anyway"
    params.write_text(text.replace("  seed: 1000", "  seed: 1001"))
    assert _name(tiny) != first
    params.write_text(text + "# a remark\n")
    assert _name(tiny) == first
    (tiny.root / "stage.py").write_text("print('changed')\n")
    changed = _name(tiny)
    assert changed != first
    tiny.git("commit", "-q", "-a", "-m", "Change")
    assert _name(tiny) not in (first, changed)


def test_failing_commands_are_one_line(tiny: Repository) -> None:
    with pytest.raises(RepositoryError, match=r"git show absent: fatal"):
        tiny.git("show", "absent")
    with pytest.raises(RepositoryError, match=r"dvc exp apply absent: ERROR"):
        tiny.dvc("exp", "apply", "absent")
    assert last_lines("a\n\n b \nc\n", 2) == "b / c"


def test_environment(tiny: Repository) -> None:
    import sys
    from pathlib import Path

    assert tiny.environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
