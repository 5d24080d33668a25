"""DVC's queue for real: workers with a GPU each, failures, and what is typed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.experiments.dvc import Repository
from pipeline.experiments.queue import run_queue, tasks


@pytest.mark.slow
def test_each_worker_has_its_gpu_and_failed_runs_are_queued_again(
    tiny: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No run ends before two are at work: each worker has one.
    monkeypatch.setenv("GATE", str(tmp_path))
    monkeypatch.setenv("GATE_NEEDS", "2")
    before = (tiny.root / "params.yaml").read_bytes()
    settings = ["train.seed=1,2,13,4,5,6"]
    runs = tiny.runs(settings)
    outcomes = run_queue(tiny, settings, 2, ["5", "7"])
    assert {outcome.run.name: outcome.state for outcome in outcomes} == {
        run.name: "failed" if run.point.values["train.seed"] == 13 else "done" for run in runs
    }
    (reason,) = [outcome.reason for outcome in outcomes if outcome.state == "failed"]
    assert reason
    used = {experiment.metrics.get("evaluate.gpu") for experiment in tiny.experiments()}
    assert used == {None, 5.0, 7.0}
    assert (tiny.root / "params.yaml").read_bytes() == before
    assert tasks(tiny)[runs[2].name] == "Failed"
    again = run_queue(tiny, settings, 1, [])
    assert sorted(outcome.state for outcome in again) == ["failed", *["was there"] * 5]
