"""Training that fits its machine: batch, threads, data larger than the memory it is given."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipeline.data.store import create_array, create_group
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.memory import MemoryLimitError
from pipeline.stages import train

EPISODES, STEPS = 80, 12
LIMIT_GB = 40e-6
"""Larger than what the buffers need for blocks of one episode, smaller than the data set."""


@pytest.fixture(autouse=True)
def _states_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(train, "console", Console(file=stream, soft_wrap=True))
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
    original = train.StreamedWindows.__init__

    def counted(self: train.StreamedWindows, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        made.append(len(self))

    monkeypatch.setattr(train.StreamedWindows, "__init__", counted)
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
    assert "CPU threads (train.threads is 0)" in printed.getvalue()


def test_a_batch_beyond_the_memory_is_refused_before_training(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(MemoryLimitError, match=r"train\.batch_size \d+ \(or auto\) fits"):
        train.run(small.override("train", batch_size=10**9), tmp_path / "out", zarr_path)
    assert not (tmp_path / "out").exists()
