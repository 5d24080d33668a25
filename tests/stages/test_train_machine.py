"""Training that fits its machine: batch, threads, data larger than the memory it is given."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipeline.dataset.zarr_arrays import create_array, create_group
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.stages import train
from pipeline.training import inputs
from pipeline.training.batches.streamed import StreamedWindows
from pipeline.training.memory import MemoryLimitError

REPOSITORY = Path(__file__).parents[2]
EPISODES, STEPS = 80, 12
LIMIT_GB = 40e-6
"""Larger than what the buffers need for blocks of one episode, smaller than the data set."""


@pytest.fixture(autouse=True)
def _states_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(inputs, "console", Console(file=stream, soft_wrap=True))
    return stream


@pytest.fixture
def small(params: Params) -> Params:
    chosen = params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)
    return chosen.override(
        "train",
        num_epochs=2,
        batch_size=16,
        warmup_steps=5,
        rollout_every=0,
        select="val_loss",
    )


@pytest.fixture
def zarr_path(small: Params, tmp_path: Path) -> Path:
    layout, rng = Layout.from_params(small), np.random.default_rng(0)
    state = rng.normal(size=(EPISODES * STEPS, layout.state_dim)).astype(np.float32)
    group = create_group(tmp_path / "a.zarr", 2)
    arrays = {
        "data/state": state,
        "data/action": (0.9 * state[:, layout.field("joint_pos").slice]).astype(np.float32),
        "meta/episode_ends": np.arange(1, EPISODES + 1, dtype=np.int64) * STEPS,
        "meta/split": (np.arange(EPISODES) % 5 == 4).astype(np.int8),
    }
    for name, array in arrays.items():
        create_array(group, name, array.shape, array.dtype.name, 100)[:] = array
    group.attrs.update({"layout": layout.to_dict(), "rate_hz": 30.0})
    return tmp_path / "a.zarr"


def test_a_data_set_beyond_the_limit_is_streamed_and_normalised_alike(
    small: Params, zarr_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    original = StreamedWindows.__init__

    def counted(self: StreamedWindows, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        made.append(len(self))

    monkeypatch.setattr(StreamedWindows, "__init__", counted)
    losses = {}
    for name, limit in (("resident", 1.0), ("streamed", LIMIT_GB)):
        train.run(small.override("train", data_limit_gb=limit), tmp_path / name, zarr_path)
        losses[name] = json.loads((tmp_path / name / "metrics.json").read_text())["val_loss"]
    assert made == [64 * STEPS, 16 * STEPS]
    assert losses["streamed"] == pytest.approx(losses["resident"], rel=0.2)


def test_auto_takes_the_batch_and_threads_that_suit_and_says_so(
    small: Params, zarr_path: Path, tmp_path: Path, printed: io.StringIO
) -> None:
    chosen = small.override("train", batch_size="auto", threads=0)
    train.run(chosen, tmp_path / "out", zarr_path)
    assert "Batches of 64 windows" in printed.getvalue()
    assert "CPU threads: the fastest here" in printed.getvalue()
    assert len(list((tmp_path / ".state" / "threads").iterdir())) == 1
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["train"]["threads"] >= 1 and config["train"]["batch_size"] == 64


def test_a_batch_beyond_the_memory_is_refused_before_training(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(MemoryLimitError, match=r"train\.batch_size \d+ \(or auto\) fits"):
        train.run(small.override("train", batch_size=10**9), tmp_path / "out", zarr_path)
    assert not (tmp_path / "out").exists()


STARVED = """
import resource, sys
from pathlib import Path
from pipeline.params import load_params
from pipeline.training.loop import TrainingError
from pipeline.stages import train
from pipeline.training import inputs

params = load_params(Path(sys.argv[1]))
lines = Path("/proc/self/status").read_text().splitlines()
used = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + 1_000_000_000, resource.RLIM_INFINITY))
try:
    train.run(params, Path(sys.argv[2]), Path(sys.argv[3]))
except TrainingError as error:
    print(error)
"""


def test_memory_that_runs_out_in_training_names_the_step_and_a_batch_to_try(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    chosen = small.override("train", batch_size=960, noise_draws=1000)
    (tmp_path / "params.json").write_text(json.dumps(chosen.model_dump(mode="json")))
    command = [sys.executable, "-c", STARVED, "params.json", "out", str(zarr_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "cpu ran out of memory in step 1 of 2 with batches of 960 windows" in done.stdout, (
        done.stdout + done.stderr
    )
    assert "train.batch_size 480" in done.stdout
