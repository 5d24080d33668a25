from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.dataset.store import Dataset, create_array, create_group, load_dataset
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.training.distributed import SINGLE_PROCESS, Workers
from pipeline.training.inputs import TrainError, make_inputs, with_rate
from tests.fixtures.policy import training_states


def make_dataset(
    params: Params, layout: Layout, path: Path, rate_hz: float | None, split: list[int]
) -> Dataset:
    """Four episodes of 50 steps."""
    state = training_states(np.random.default_rng(0), layout).numpy()
    arrays = {
        "data/state": state,
        "data/action": state[:, layout.field("joint_pos").slice],
        "meta/episode_ends": np.arange(1, 5, dtype=np.int64) * 50,
        "meta/split": np.array(split, np.int8),
    }
    group = create_group(path, 2)
    for name, array in arrays.items():
        create_array(group, name, array.shape, array.dtype.name, 100)[:] = array
    group.attrs.update({"layout": layout.to_dict()} | ({"rate_hz": rate_hz} if rate_hz else {}))
    return load_dataset(path, layout, params.dataset)


def test_a_rate_is_taken_from_the_zarr_or_the_command_line(
    params: Params, layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = make_dataset(params, layout, tmp_path / "known.zarr", 30.0, [0, 0, 1, 2])
    unknown = make_dataset(params, layout, tmp_path / "unknown.zarr", None, [0, 0, 1, 2])
    assert with_rate(known, None, SINGLE_PROCESS).rate_hz == 30.0
    assert with_rate(known, 30.0, SINGLE_PROCESS).rate_hz == 30.0
    assert with_rate(unknown, 25.0, SINGLE_PROCESS).rate_hz == 25.0
    assert with_rate(unknown, None, Workers(1, 2)).rate_hz is None
    assert capsys.readouterr().out == ""
    assert with_rate(unknown, None, SINGLE_PROCESS).rate_hz is None
    assert "has no attribute rate_hz" in capsys.readouterr().out


def test_a_rate_that_contradicts_the_zarr_or_is_not_positive_is_refused(
    params: Params, layout: Layout, tmp_path: Path
) -> None:
    known = make_dataset(params, layout, tmp_path / "known.zarr", 30.0, [0, 0, 1, 2])
    with pytest.raises(TrainError, match=r"rate_hz is 30.0, but --rate-hz is 25.0"):
        with_rate(known, 25.0, SINGLE_PROCESS)
    for wrong in (0.0, -5.0, float("nan")):
        with pytest.raises(TrainError, match="positive"):
            with_rate(known, wrong, SINGLE_PROCESS)


def test_windows_come_from_their_split_and_an_empty_split_is_refused(
    params: Params, layout: Layout, tmp_path: Path
) -> None:
    device = torch.device("cpu")
    dataset = make_dataset(params, layout, tmp_path / "a.zarr", 30.0, [0, 0, 1, 2])
    inputs = make_inputs(params, dataset, device)
    assert (len(inputs.train), len(inputs.val)) == (100, 50)
    empty = make_dataset(params, layout, tmp_path / "b.zarr", 30.0, [0, 0, 2, 2])
    with pytest.raises(TrainError, match="none of its 4 episodes is in the split val"):
        make_inputs(params, empty, device)
