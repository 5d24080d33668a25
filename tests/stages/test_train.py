from __future__ import annotations

import csv
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.dataset.store import create_array, create_group
from pipeline.layout import Layout, LayoutError
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.policy.checkpoint import load_checkpoint
from pipeline.run import OutputError
from pipeline.stages import train
from pipeline.training.finetune import FinetuneError
from pipeline.training.inputs import TrainError
from pipeline.training.loop import TrainingError

EPISODES, STEPS = 10, 12


@pytest.fixture(autouse=True)
def _states_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))


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


def test_training_writes_what_the_guide_shows(
    small: Params, zarr_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path = tmp_path / "out"
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
        "dvclive",
    }
    lines = capsys.readouterr().out.splitlines()
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
    scalars = {"loss/step", "loss/train", "optimizer/learning_rate", "speed/samples_per_s"}
    assert scalars <= set(events.Tags()["scalars"])
    policy = DiffusionPolicy(device="cpu")
    policy.load(tmp_path / "best_model.pt")
    assert policy.predict(policy.checkpoint.examples).shape[1:] == (16, 6)
    assert policy.checkpoint.config["rate_hz"] == 30.0
    assert len(policy.checkpoint.stats["state"]["min"]) == 25


@pytest.fixture
def zarr_without_rate(zarr_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "without_rate.zarr"
    shutil.copytree(zarr_path, path)
    del zarr.open_group(path, mode="r+").attrs["rate_hz"]
    return path


def test_a_zarr_without_a_rate_is_told_before_training_and_takes_one_from_the_command(
    small: Params, zarr_without_rate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.run(small, tmp_path / "none", zarr_without_rate)
    printed = capsys.readouterr().out
    assert "no attribute rate_hz" in printed and "--rate-hz" in printed
    assert printed.index("Warning") < printed.index("Epoch 1/")
    assert load_checkpoint(tmp_path / "none" / "best_model.pt").config["rate_hz"] is None
    done = CliRunner().invoke(
        app,
        ["train", "--params", str(_written(small, tmp_path)), "--out", str(tmp_path / "named"),
         "--data-path", str(zarr_without_rate), "--rate-hz", "25"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "no attribute rate_hz" not in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "named" / "best_model.pt").config["rate_hz"] == 25.0


def _written(params: Params, folder: Path) -> Path:
    path = folder / "params.json"
    path.write_text(json.dumps(params.model_dump(mode="json")))
    return path


def test_the_same_seed_gives_the_same_files_and_another_one_others(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train.run(small.override("train", seed=seed), tmp_path / name, zarr_path)
    for file in ("best_model.pt", "final_model.pt", "history.csv", "config.json"):
        first, again, other = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert first == again
        assert first != other


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
    with pytest.raises(TrainingError, match=r"step \d+ of \d+ at learning rate"):
        train.run(wild, tmp_path, zarr_path)
    assert not (tmp_path / "metrics.json").exists()


def test_no_validation_episode_is_an_error(small: Params, tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", Layout.from_params(small), [0] * EPISODES)
    with pytest.raises(TrainError, match="split val"):
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


def test_data_that_no_arm_can_follow_is_said_and_the_validation_loss_chooses(
    small: Params, zarr_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.run(small.override("train", num_epochs=1), tmp_path, zarr_path)
    assert "the validation loss chooses" in capsys.readouterr().out


def test_a_finished_training_leaves_no_state_behind(
    small: Params, zarr_path: Path, tmp_path: Path
) -> None:
    chosen = small.override("train", state_every_s=0.0)
    train.run(chosen, tmp_path / "out", zarr_path)
    assert list((tmp_path / "root/.state/train").iterdir()) == []


def test_fine_tuning_starts_from_the_checkpoint_with_its_ranges_or_new_ones(
    small: Params, zarr_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.run(small, tmp_path / "first", zarr_path)
    wider = write_zarr(tmp_path / "b.zarr", Layout.from_params(small), [0] * 7 + [1] * 3, scale=3)
    start = tmp_path / "first" / "best_model.pt"
    # Steps of size almost zero: what comes out is what went in.
    still = small.override("train", init_from=start, lr=1e-12, num_epochs=1)
    bundles = {}
    for stats in ("old", "new"):
        train.run(still.override("train", init_stats=stats), tmp_path / stats, wider)
        bundles[stats] = load_checkpoint(tmp_path / stats / "final_model.pt")
    assert "times as far" in capsys.readouterr().out
    first = load_checkpoint(start)
    ranges = "codec.scale.radius"
    torch.testing.assert_close(bundles["old"].ema, first.ema)
    assert bundles["old"].stats == first.stats
    assert bundles["new"].ema[ranges].max() > 1.1 * first.ema[ranges].max()
    assert bundles["new"].stats != first.stats
    other = still.override("policy", mlp_width=64)
    with pytest.raises(FinetuneError, match="mlp_width is 32 there and 64 here"):
        train.run(other, tmp_path / "third", wider)


def test_a_full_disk_is_one_error_and_the_same_command_goes_on(
    small: Params, zarr_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, out = small.override("train", state_every_s=0.0), tmp_path / "out"
    out.mkdir()
    full = out / ".metrics.json.partial"
    full.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"No space left .* from the last saved state"):
        train.run(chosen, out, zarr_path)
    full.unlink()
    train.run(chosen, out, zarr_path)
    assert "Resumed in epoch 1/3" in capsys.readouterr().out
    assert (out / "metrics.json").exists()


def test_a_changed_parameter_starts_afresh(
    small: Params, zarr_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, out = small.override("train", state_every_s=0.0), tmp_path / "out"
    out.mkdir()
    (out / ".metrics.json.partial").symlink_to("/dev/full")
    with pytest.raises(OutputError):
        train.run(chosen, out, zarr_path)
    (out / ".metrics.json.partial").unlink()
    for changed in ({"lr": 5e-4}, {"seed": 7}, {"num_epochs": 4}):
        train.run(chosen.override("train", **changed), tmp_path / "other", zarr_path)
    assert "Resumed" not in capsys.readouterr().out
    train.run(chosen.override("train", state_every_s=9.0), out, zarr_path)
    assert "Resumed" in capsys.readouterr().out
