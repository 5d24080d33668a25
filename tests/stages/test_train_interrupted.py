"""Trainings that are really killed, stopped by a signal, or lose a worker."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from pipeline.params import Params
from pipeline.policy.checkpoint import load_checkpoint

REPOSITORY = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("train_driver.py")
FILES = ("best_model.pt", "final_model.pt", "checkpoint_epoch_2.pt", "history.csv", "config.json")


@pytest.fixture(scope="module")
def small(params: Params) -> Params:
    """Seconds of training, and rollouts, states and checkpoints at every turn."""
    chosen = params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)
    return chosen.override(
        "train", num_epochs=5, batch_size=6, warmup_steps=5, save_freq=2, state_every_s=0.0,
        rollout_every=2, rollout_pens=2, rollout_least_steps=40, device="cpu",
    )  # fmt: skip


def drive(mode: str, params: Params, data: Path, folder: Path) -> dict[str, Any]:
    parameters = folder / "params.yaml"
    parameters.write_text(json.dumps(params.model_dump(mode="json")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, DRIVER, mode, parameters, data, folder],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    logs = "\n".join(f"{path.name}: {path.read_text()}" for path in folder.glob("*.log"))
    assert result.returncode == 0, f"{result.stderr[-3000:]}\n{logs[-3000:]}"
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_a_training_that_is_killed_or_stopped_ends_as_an_undisturbed_one(
    small: Params, plans_zarr: Path, tmp_path: Path
) -> None:
    found = drive("ends", small, plans_zarr, tmp_path)
    assert found["statuses"] == [0, -9, -9, 143, 130, -9, -9, 0]
    lines = (tmp_path / "ended.0.log").read_text().splitlines()
    resumed = [line for line in lines if line.startswith("Resumed")]
    stopped = [line for line in lines if line.startswith("Stopped by")]
    assert [line.split()[2] for line in stopped] == ["SIGTERM", "SIGINT"]
    assert all("run the same command again to go on" in line for line in stopped)
    # SIGTERM and SIGINT let the current step end. The first SIGKILL came before any state.
    steps = int(resumed[0].split()[-1])
    killed, terminated, interrupted, last = (int(share * steps) for share in (0.3, 0.5, 0.7, 0.9))
    assert _steps(stopped) == [terminated + 1, interrupted + 1]
    assert _steps(resumed) == [killed, terminated + 1, interrupted + 1, interrupted + 1, last]
    for name in FILES:
        calm, ended = (tmp_path / run / name for run in ("calm", "ended"))
        assert calm.read_bytes() == ended.read_bytes(), name
    assert not list(tmp_path.glob("root_*/.state/train/*"))


def _steps(lines: list[str]) -> list[int]:
    """The number after "after step" in each line."""
    return [int(line.partition("after step ")[2].split()[0]) for line in lines]


def losses(folder: Path) -> np.ndarray:
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[name]) for name in ("train_loss", "val_loss")] for row in rows])


def test_two_workers_learn_what_one_does_and_survive_the_loss_of_one(
    small: Params, plans_zarr: Path, tmp_path: Path
) -> None:
    # Batches of 5: the parts of the two are not even.
    chosen = small.override("train", batch_size=5, num_epochs=3)
    found = drive("workers", chosen, plans_zarr, tmp_path)
    assert found["statuses"] == [0] * 4
    one, two, lost = (tmp_path / name for name in ("one", "two", "lost"))
    # Sums in another order: equal to rounding, which training amplifies.
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-3)
    assert found["lost"][0] == 1
    said = (tmp_path / "lost.0.log").read_text()
    assert "error: a worker is gone" in said
    assert "run the same command again to go on" in said
    (resumed,) = (line for line in said.splitlines() if line.startswith("Resumed"))
    assert _steps([resumed]) == [int(0.4 * int(resumed.split()[-1]))]
    np.testing.assert_allclose(losses(lost), losses(one), rtol=1e-3)
    weights = [load_checkpoint(folder / "final_model.pt").ema for folder in (one, two)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_the_steps_since_the_last_state(
    small: Params, plans_zarr: Path, tmp_path: Path
) -> None:
    chosen = small.override(
        "train", num_epochs=40, launcher="torchrun", devices=2, rollout_every=0, select="val_loss"
    )
    (tmp_path / "params.yaml").write_text(json.dumps(chosen.model_dump(mode="json")))
    options = ["--params", "params.yaml", "--data-path", str(plans_zarr), "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline", "train", *options]
    killed, lines = False, []
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Epoch 3/40") and not killed:
                killed = True
                children = psutil.Process(process.pid).children(recursive=True)
                # torchrun itself is the first of them.
                next(each for each in children[1:] if "train" in each.cmdline()).kill()
        _, errors = process.communicate()
    assert process.returncode == 0, "".join(lines) + errors[-6000:]
    assert sum(line.startswith("Resumed in epoch") for line in lines) == 1
    assert any(line.startswith("Epoch 40/40") for line in lines)


@pytest.mark.slow
def test_the_command_starts_workers_itself(small: Params, plans_zarr: Path, tmp_path: Path) -> None:
    chosen = small.override("train", num_epochs=2, launcher="torchrun", devices=2)
    (tmp_path / "params.yaml").write_text(json.dumps(chosen.model_dump(mode="json")))
    options = ["--params", "params.yaml", "--data-path", str(plans_zarr), "--out", "out"]
    result = subprocess.run(
        [sys.executable, "-m", "pipeline", "train", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("Epoch 2/2") == 1
    assert (tmp_path / "out/best_model.pt").exists()
