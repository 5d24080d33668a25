from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.data.store import create_array, create_group
from pipeline.layout import Layout, LayoutError
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.run import OutputError
from pipeline.stages import train

EPISODES, STEPS = 10, 12


@pytest.fixture(scope="session")
def small(params: Params) -> Params:
    """A network and a training of about a second."""
    chosen = params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)
    return chosen.override("train", num_epochs=3, batch_size=16, warmup_steps=5, save_freq=2)


def write_zarr(path: Path, layout: Layout, split: list[int], scale: float = 1.0) -> Path:
    """Arms that move straight to a pen, ten episodes."""
    rng = np.random.default_rng(0)
    rows = EPISODES * STEPS
    state = rng.normal(size=(rows, layout.state_dim)).astype(np.float32)
    action = (state[:, layout.field("joint_pos").slice] * 0.9 * scale).astype(np.float32)
    ends = np.arange(1, EPISODES + 1, dtype=np.int64) * STEPS
    group = create_group(path, 2)
    arrays = {
        "data/state": state,
        "data/action": action,
        "meta/episode_ends": ends,
        "meta/split": np.array(split, np.int8),
    }
    for name, array in arrays.items():
        create_array(group, name, array.shape, array.dtype.name, 1000)[:] = array
    group.attrs.update({"layout": layout.to_dict(), "rate_hz": 30.0})
    return path


@pytest.fixture(scope="session")
def zarr_path(small: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_zarr(folder / "a.zarr", Layout.from_params(small), [0] * 7 + [1] * 2 + [2])


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(train, "console", Console(file=stream, highlight=False, soft_wrap=True))
    return stream


def test_training_writes_what_the_guide_shows(
    small: Params, zarr_path: Path, tmp_path: Path, printed: io.StringIO
) -> None:
    train.run(small, tmp_path, zarr_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "best_model.pt",
        "final_model.pt",
        "checkpoint_epoch_2.pt",
        "config.json",
        "history.csv",
        "metrics.json",
        "tensorboard",
    }
    lines = printed.getvalue().splitlines()
    epochs = [line for line in lines if line.startswith("Epoch")]
    assert len(epochs) == 3
    pattern = r"Epoch (\d)/3: train_loss=\d+\.\d{4,6}, val_loss=\d+\.\d{4,6}"
    assert all(re.fullmatch(pattern, line) for line in epochs)
    assert any(re.fullmatch(r"  → Best model saved \(val_loss=\d\.\d{4,6}\)", x) for x in lines)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    losses = [float(row["val_loss"]) for row in rows]
    assert metrics["best_val_loss"] == min(losses)
    assert metrics["best_epoch"] == 1 + losses.index(min(losses))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("loss/val")] == pytest.approx(losses)
    scalars = {"loss/step", "loss/train", "learning_rate", "gradient_norm", "samples_per_s"}
    assert scalars <= set(events.Tags()["scalars"])
    policy = DiffusionPolicy(device="cpu")
    policy.load(tmp_path / "best_model.pt")
    assert policy.predict(policy.bundle.examples).shape[1:] == (16, 6)
    assert policy.bundle.config["rate_hz"] == 30.0
    assert len(policy.bundle.stats["state"]["min"]) == 25


def test_the_same_seed_gives_the_same_files_and_another_one_others(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train.run(small.override("train", seed=seed), tmp_path / name, zarr_path)
    for file in ("best_model.pt", "final_model.pt", "history.csv", "config.json"):
        first, again, other = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert first == again
        assert first != other


@pytest.mark.parametrize(
    ("loss", "text"), [(0.0523, "0.0523"), (0.000123, "0.000123"), (1.5, "1.5000")]
)
def test_losses_show_enough_digits(loss: float, text: str) -> None:
    assert train._digits(loss) == text


def test_global_random_state_is_left_alone(small: Params, zarr_path: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train.run(small, tmp_path, zarr_path)
    torch.testing.assert_close(torch.rand(3), expected)


def test_an_earlier_training_is_replaced_and_other_files_stay(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    for name in ("checkpoint_epoch_50.pt", "best_model.pt", "notes.txt"):
        (tmp_path / name).write_text("old")
    train.run(small, tmp_path, zarr_path)
    assert not (tmp_path / "checkpoint_epoch_50.pt").exists()
    assert (tmp_path / "best_model.pt").stat().st_size > 1000
    assert (tmp_path / "notes.txt").read_text() == "old"


def test_a_loss_that_is_no_number_stops_with_step_and_learning_rate(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    wild = small.override("train", lr=1e30, warmup_steps=0)
    with pytest.raises(train.TrainError, match=r"step \d+ of \d+ at learning rate"):
        train.run(wild, tmp_path, zarr_path)
    assert not (tmp_path / "metrics.json").exists()


def test_no_validation_episode_is_an_error(small: Params, tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", Layout.from_params(small), [0] * EPISODES)
    with pytest.raises(train.TrainError, match="split val"):
        train.run(small, tmp_path / "out", path)


def test_another_layout_is_refused(small: Params, zarr_path: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError):
        train.run(small.override("task", object="cup"), tmp_path, zarr_path)


def test_out_that_is_a_file_is_refused(small: Params, zarr_path: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        train.run(small, tmp_path / "out", zarr_path)


def test_the_unet_trains_too(small: Params, zarr_path: Path, tmp_path: Path) -> None:
    chosen = small.override("policy", network="unet", unet_channels=[8, 16], unet_groups=4)
    train.run(chosen.override("train", num_epochs=1), tmp_path, zarr_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert math.isfinite(metrics["val_loss"])
