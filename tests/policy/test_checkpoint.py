from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest
import torch

from pipeline.layout import LayoutError
from pipeline.policy.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint


def test_a_checkpoint_comes_back_as_it_was(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best_model.pt", checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["best_model.pt"]
    loaded = load_checkpoint(tmp_path / "best_model.pt")
    assert loaded.config == checkpoint.config
    assert loaded.layout == checkpoint.layout
    assert loaded.params.n_obs_steps == 2
    torch.testing.assert_close(loaded.ema, checkpoint.ema)
    torch.testing.assert_close(loaded.examples, checkpoint.examples)


def test_a_checkpoint_has_the_keys_that_the_guide_shows(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "m.pt", checkpoint)
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    assert {"model", "ema", "config", "stats", "layout"} <= set(content)
    sizes = {"state_dim": 25, "action_dim": 6, "horizon": 16, "n_obs_steps": 2}
    assert sizes.items() <= content["config"].items()


def test_averaged_weights_act(checkpoint: Checkpoint) -> None:
    name = "network.leave.1.bias"
    changed = dataclasses.replace(
        checkpoint, ema={**checkpoint.ema, name: checkpoint.ema[name] + 1}
    )
    torch.testing.assert_close(changed.build().state_dict()[name], checkpoint.model[name] + 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: no such file"):
        load_checkpoint(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "m.pt")


def test_a_checkpoint_that_was_cut_off_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    save_checkpoint(path, checkpoint)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(path)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_code_in_a_file_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Evil()}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "m.pt")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "m.pkl")
    assert "executed" not in capsys.readouterr().out


def test_a_checkpoint_of_the_earlier_scripts_is_recognised(tmp_path: Path) -> None:
    config = {"state_dim": 25, "action_dim": 6, "horizon": 16, "n_obs_steps": 2}
    torch.save({"model": {}, "ema": {}, "config": config}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="earlier scripts"):
        load_checkpoint(tmp_path / "m.pt")


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {}])
def test_another_program_s_checkpoint_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"expected|missing"):
        load_checkpoint(tmp_path / "m.pt")


def test_config_of_another_version_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    policy = {**checkpoint.config["policy"], "unheard_of": 1}
    old = dataclasses.replace(checkpoint, config={**checkpoint.config, "policy": policy})
    save_checkpoint(tmp_path / "m.pt", old)
    with pytest.raises(CheckpointError, match="train again"):
        load_checkpoint(tmp_path / "m.pt")


def test_weights_that_do_not_fit_the_config_are_refused(checkpoint: Checkpoint) -> None:
    policy = {**checkpoint.config["policy"], "mlp_width": 64}
    wrong = dataclasses.replace(checkpoint, config={**checkpoint.config, "policy": policy})
    with pytest.raises(CheckpointError, match="disagree"):
        wrong.build()


def test_a_tampered_layout_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m.pt", checkpoint)
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    content["layout"]["object"] = "cup"
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(LayoutError, match="fingerprint"):
        load_checkpoint(tmp_path / "m.pt")


def test_a_checkpoint_from_before_obstacles_still_loads(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    policy = {
        key: value for key, value in checkpoint.config["policy"].items() if key != "max_obstacles"
    }
    old = dataclasses.replace(checkpoint, config={**checkpoint.config, "policy": policy})
    save_checkpoint(tmp_path / "old.pt", old)
    assert load_checkpoint(tmp_path / "old.pt").params.max_obstacles == 0
