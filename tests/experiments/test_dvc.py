"""The name of a run depends on everything that affects its results, and on nothing else."""

from __future__ import annotations

import json

import pytest

from pipeline.experiments.dvc import Experiment, Repository
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
    tiny.output("git", "commit", "-q", "-a", "-m", "Change")
    assert _name(tiny) not in (first, changed)


def test_an_experiment_has_the_parameters_and_numbers_that_dvc_shows(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {
        "params": {"params.yaml": {"data": {"train": {"lr": 1e-3, "sizes": [1, 2]}}},
                   "other.yaml": {"data": {"a": 1}}},
        "metrics": {"artifacts/train/metrics.json": {"data": {"loss": 1, "best": True}},
                    "artifacts/evaluate/metrics.json": {}},
    }  # fmt: skip
    shown = [{"rev": "workspace"}, {"rev": "0123456789", "data": data}]
    monkeypatch.setattr(Repository, "output", lambda *_: json.dumps(shown))
    monkeypatch.setattr(Repository, "names", lambda _: set())
    expected = {"train.lr": 1e-3, "train.sizes": [1, 2]}
    assert tiny.experiments() == [Experiment("0123456", expected, {"train.loss": 1.0})]


def test_errors_of_commands_are_one_line(tiny: Repository) -> None:
    with pytest.raises(RepositoryError, match=r"git show absent: fatal"):
        tiny.output("git", "show", "absent")
    with pytest.raises(RepositoryError, match=r"dvc exp apply absent: ERROR"):
        tiny.output("dvc", "exp", "apply", "absent")
    assert last_lines("a\n\n b \nc\n", 2) == "b / c"


def test_environment(tiny: Repository) -> None:
    import sys
    from pathlib import Path

    assert tiny.environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
