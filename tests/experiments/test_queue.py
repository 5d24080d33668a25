"""Runs are queued, each worker has a GPU, and runs that fail or lose their worker are noticed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.experiments import queue
from pipeline.experiments.dvc import Repository
from pipeline.experiments.queue import count_workers, run_queue, tasks
from pipeline.repository import RepositoryError

from .fake_dvc import FakeDvc


@pytest.fixture(autouse=True)
def _without_pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let polls of the fake DVC follow each other at once."""
    if "fake_dvc" in request.fixturenames:
        monkeypatch.setattr(queue, "POLL_S", 0.0)


def _names(tiny: Repository, *settings: str) -> list[str]:
    return [run.name for run in tiny.runs(settings)]


def test_only_missing_runs_are_queued_and_failed_ones_again(
    tiny: Repository, fake_dvc: FakeDvc, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["train.seed=1,2,3,4"]
    exists, waits, failed, new = runs = _names(tiny, *settings)
    tiny.output("dvc", "exp", "run", "--name", exists)
    fake_dvc.set_tasks({waits: "Queued", failed: "Failed"})
    fake_dvc.on_starts(dict.fromkeys(runs[1:], "Success"))
    outcomes = run_queue(tiny, settings, 2, ["5", "7"])
    assert [(item.run.name, item.state) for item in outcomes] == [
        (exists, "existing"), (waits, "done"), (failed, "done"), (new, "done"),
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert f"3/3 {new}" in said and "queued" in said
    assert fake_dvc.calls("queue", "remove") == [["queue", "remove", failed]]
    assert fake_dvc.calls("exp", "run", "--queue") == [
        ["exp", "run", "--queue", "--name", failed, "-S", "train.seed=3"],
        ["exp", "run", "--queue", "--name", new, "-S", "train.seed=4"],
    ]
    assert fake_dvc.calls("queue", "start") == [["queue", "start", "-j", "2"]]
    assert fake_dvc.gpus() == ["5,7"]
    again = run_queue(tiny, settings, 2, [])
    assert [item.state for item in again] == ["existing"] * 4
    assert fake_dvc.gpus() == ["5,7"], "nothing is missing, so no worker starts"


def test_there_are_no_more_workers_than_runs_and_a_failed_run_has_its_reason(
    tiny: Repository, fake_dvc: FakeDvc
) -> None:
    (name,) = _names(tiny, "train.seed=13")
    fake_dvc.on_starts({name: "Failed"})
    (outcome,) = run_queue(tiny, ["train.seed=13"], 8, [])
    assert (outcome.run.name, outcome.state) == (name, "failed")
    assert outcome.reason == "ERROR: thirteen is refused"
    assert fake_dvc.calls("queue", "start") == [["queue", "start", "-j", "1"]]
    assert fake_dvc.gpus() == [None]


def test_a_run_whose_worker_ended_fails_and_waiting_runs_get_another_worker(
    tiny: Repository, fake_dvc: FakeDvc
) -> None:
    lost, waiting = _names(tiny, "train.seed=1,2")
    fake_dvc.on_starts({lost: "Running"}, {waiting: "Success"})
    outcomes = run_queue(tiny, ["train.seed=1,2"], 1, [])
    assert [(item.run.name, item.state) for item in outcomes] == [
        (lost, "failed"), (waiting, "done"),
    ]  # fmt: skip
    assert "its worker has ended" in outcomes[0].reason
    assert lost not in tasks(tiny), "it can be queued again"
    assert len(fake_dvc.calls("queue", "start")) == 2


def test_a_run_without_a_worker_for_a_moment_is_not_lost(
    tiny: Repository, fake_dvc: FakeDvc
) -> None:
    (name,) = _names(tiny, "train.seed=1")
    # The first question comes before the run is queued, the next two find no worker.
    fake_dvc.on_polls({}, {name: "Running"}, {}, {name: "Success"})
    (outcome,) = run_queue(tiny, ["train.seed=1"], 1, [])
    assert outcome.state == "done"


def test_a_living_worker_is_waited_for_and_no_second_one_starts(
    tiny: Repository, fake_dvc: FakeDvc
) -> None:
    (name,) = _names(tiny, "train.seed=1")
    fake_dvc.on_polls({}, {name: "Running"}, {}, {}, {}, {}, {name: "Success"})
    folder = tiny.root / ".dvc/tmp/exps/celery"
    folder.mkdir(parents=True)
    (folder / "dvc-exp-worker-2.json").write_text("being writ")
    worker = subprocess.Popen(
        [sys.executable, "-c", "print('ready', flush=True); input()", "queue-worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    try:
        (folder / "dvc-exp-worker-1.json").write_text(json.dumps({"pid": worker.pid}))
        assert count_workers(tiny) == 1
        (outcome,) = run_queue(tiny, ["train.seed=1"], 1, [])
    finally:
        worker.kill()
        worker.communicate()
    assert outcome.state == "done"
    assert fake_dvc.calls("queue", "start") == []
    assert count_workers(tiny) == 0


def test_a_queue_that_does_not_start_is_an_error(tiny: Repository, tmp_path: Path) -> None:
    config = tiny.root / ".dvc/config"
    config.write_text(config.read_text() + "[nonsense]\n    a = b\n")
    with pytest.raises(RepositoryError, match="dvc queue start: ERROR"):
        queue._start_workers(tiny, 1, [])


def test_ctrl_c_leaves_the_queue_alone(
    tiny: Repository, fake_dvc: FakeDvc, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(queue.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_queue(tiny, ["train.seed=1"], 1, [])
    assert "The queue goes on" in capsys.readouterr().out
    assert fake_dvc.calls("queue", "kill") == []
    assert list(tasks(tiny).values()) == ["Queued"]


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
    assert sorted(outcome.state for outcome in again) == [*["existing"] * 5, "failed"]
