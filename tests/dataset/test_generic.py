"""Any zarr of Diffusion Policy's form is read as vectors, and what does not fit is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset.generic import load_generic
from pipeline.dataset.store import load_dataset
from pipeline.dataset.zarr_arrays import StoreError, open_group
from pipeline.layout import Layout
from pipeline.params import DatasetParams, Params
from tests.fixtures.generic import EPISODES, STEPS, write_generic

from .damage import check_that_damage_is_named


def rules(params: Params, *arrays: str) -> DatasetParams:
    return params.override("dataset", layout="generic", state_arrays=arrays).dataset


def test_arrays_and_columns_make_up_the_state_in_their_order(
    params: Params, tmp_path: Path
) -> None:
    path = write_generic(tmp_path / "x.zarr")
    dataset = load_generic(path, rules(params, "points", "state[0:2]", "state[4:]"))
    group = open_group(path)
    points, state = group["data/points"][:], group["data/state"][:].astype(np.float32)
    expected = np.concatenate([points.reshape(-1, 4), state[:, :2], state[:, 4:]], axis=1)
    np.testing.assert_array_equal(dataset.state, expected)
    assert dataset.state.dtype == dataset.action.dtype == np.float32
    assert dataset.layout.describe() == "points[4] + state[0:2][2] + state[4:][1]"
    assert dataset.layout.action_dim == 3 and dataset.layout.is_generic
    assert dataset.num_episodes == EPISODES and dataset.rate_hz is None
    assert dataset.stats["action"]["max"] <= [512.0] * 3


def test_splits_are_those_of_the_zarr_or_by_content(params: Params, tmp_path: Path) -> None:
    path = write_generic(tmp_path / "x.zarr")
    chosen = rules(params, "state")
    again = load_generic(write_generic(tmp_path / "y.zarr"), chosen)
    np.testing.assert_array_equal(load_generic(path, chosen).split, again.split)


def test_one_whole_array_stays_on_disk_beyond_the_limit(params: Params, tmp_path: Path) -> None:
    path = write_generic(tmp_path / "x.zarr")
    whole = load_generic(path, rules(params, "state"))
    streamed = load_generic(path, rules(params, "state"), limit_bytes=0)
    assert not isinstance(streamed.state, np.ndarray)
    np.testing.assert_allclose(streamed.state[:], whole.state, atol=1e-6)
    size = EPISODES * STEPS * (5 * 8 + 3 * 4)
    loaded = [load_generic(path, rules(params, "state"), size - less) for less in (0, 1)]
    assert [isinstance(dataset.action, np.ndarray) for dataset in loaded] == [True, False]
    joined = load_generic(path, rules(params, "points", "state"), limit_bytes=0)
    assert joined.state.shape == (EPISODES * STEPS, 9), "several arrays are joined in memory"


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (("keypoint",), r"data/keypoint is missing.*data/points.* names what they see \(dataset"),
        (("state[",), r"names 'state\['; expected an array"),
        (("state[7:9]",), r"but state\[7:9\] has no numbers"),
        (("state", "state"), "each named once"),
    ],
)
def test_arrays_that_are_not_there_are_named(
    params: Params, tmp_path: Path, arrays: tuple[str, ...], match: str
) -> None:
    with pytest.raises(StoreError, match=match):
        load_generic(write_generic(tmp_path / "x.zarr"), rules(params, *arrays))


@pytest.mark.parametrize("limit_bytes", [None, 0])
@pytest.mark.parametrize("arrays", [("state",), ("points", "state")])
def test_an_array_that_is_missing_or_damaged_is_named(
    params: Params, tmp_path: Path, arrays: tuple[str, ...], limit_bytes: int | None
) -> None:
    path = write_generic(tmp_path / "x.zarr")
    if "points" not in arrays:
        shutil.rmtree(path / "data/points")
    chosen = rules(params, *arrays)
    check_that_damage_is_named(path, lambda: load_generic(path, chosen, limit_bytes))


def test_arrays_of_other_lengths_and_shapes_are_refused(params: Params, tmp_path: Path) -> None:
    short = write_generic(tmp_path / "x.zarr", points=np.zeros((7, 2), np.float32))
    with pytest.raises(StoreError, match=r"different lengths.*'points': 7"):
        load_generic(short, rules(params, "points", "state"))
    flat = write_generic(tmp_path / "y.zarr", action=np.zeros(120, np.float32))
    with pytest.raises(StoreError, match=r"data/action has shape \(120,\)"):
        load_generic(flat, rules(params, "state"))


def test_the_arm_s_reader_names_the_option(params: Params, tmp_path: Path) -> None:
    path, layout = write_generic(tmp_path / "x.zarr"), Layout.from_params(params)
    with pytest.raises(StoreError, match="trained with --layout generic"):
        load_dataset(path, layout, params.dataset)
