from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.training.logging import Record, TrainingLog
from pipeline.training.selection import Epoch, Score

RECORDS = [
    Record(Epoch(1, 0.5, 0.4, 1e-3, None, 900.0), [0.6, 0.5, 0.4], 120, 1.5),
    Record(Epoch(2, 0.3, 0.2, 5e-4, Score(0.75, 3.5, 80), 950.0), [0.35, 0.3, 0.25], 120, 1.0),
]


def write(out: Path) -> Path:
    out.mkdir()
    with TrainingLog(out) as log:
        for record in RECORDS:
            log.write(record)
    return out


def test_history_holds_every_epoch_and_empty_fields_where_nothing_was_measured(
    tmp_path: Path,
) -> None:
    with (write(tmp_path / "out") / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["success"] for row in rows] == ["", "0.75"]
    assert rows[1] == {
        "epoch": "2", "train_loss": "0.3", "val_loss": "0.2", "lr": "0.0005", "success": "0.75",
        "error_mm": "3.5",
    }  # fmt: skip


def test_tensorboard_counts_steps_through_the_training(tmp_path: Path) -> None:
    events = EventAccumulator(str(write(tmp_path / "out") / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/step")] == [50, 100, 120, 170, 220, 240]
    assert [event.step for event in events.Scalars("loss/val")] == [120, 240]
    success = events.Scalars("closed_loop/success")
    assert [(event.step, event.value) for event in success] == [(240, 0.75)]


def test_dvclive_follows_by_epoch_and_leaves_dvc_s_own_files_alone(tmp_path: Path) -> None:
    live = write(tmp_path / "out") / "dvclive"
    assert json.loads((live / "metrics.json").read_text())["step"] == 2
    losses = (live / "plots/metrics/loss/val.tsv").read_text().splitlines()
    assert [line.split("\t") for line in losses] == [["step", "val"], ["1", "0.4"], ["2", "0.2"]]
    assert not list(tmp_path.rglob("dvc.yaml"))


@pytest.mark.parametrize("repository", ["commit", "no commit", "no git", "none"])
def test_every_log_is_written_in_any_repository_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: str
) -> None:
    monkeypatch.chdir(tmp_path)
    author = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    begin = {
        "git": ["git", "init", "-q"],
        "dvc": [str(Path(sys.executable).with_name("dvc")), "init", "-q"],
        "commit": ["git", *author, "commit", "-qm", "Begin"],
    }
    steps = {"commit": ["git", "dvc", "commit"], "none": []}.get(repository, ["git", "dvc"])
    for step in steps:
        subprocess.run(begin[step], check=True)
    if repository == "no git":
        shutil.rmtree(tmp_path / ".git")
    process = psutil.Process()
    before = {file.path for file in process.open_files()}
    out = write(tmp_path / "out")
    assert {file.path for file in process.open_files()} <= before
    assert (out / "history.csv").is_file() and (out / "dvclive/metrics.json").is_file()


def test_records_survive_a_round_trip() -> None:
    for record in RECORDS:
        assert Record.from_dict(record.to_dict()) == record
