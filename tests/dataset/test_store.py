"""A data set is read back as it was written, and one that is something else is refused."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
import zarr

from pipeline.dataset import zarr_arrays
from pipeline.dataset.store import dataset_stats, load_dataset
from pipeline.dataset.zarr_arrays import (
    StoreError,
    create_array,
    create_group,
    open_group,
    read_array,
)
from pipeline.layout import Layout, LayoutError
from pipeline.obstacles import sphere

from .damage import check_that_damage_is_named

ENDS = np.array([3, 7, 12])


@pytest.fixture
def layout(params):
    return Layout.from_params(params)


@pytest.fixture
def write(tmp_path, layout):
    """A data set of three episodes; keywords replace arrays (None leaves one out)."""

    def write(attributes=None, zarr_format=2, **changes):
        rng = np.random.default_rng(0)
        arrays = {
            "data/state": rng.normal(size=(12, 25)).astype(np.float32),
            "data/action": rng.normal(size=(12, 6)).astype(np.float32),
            "meta/episode_ends": ENDS,
            "meta/split": np.array([0, 2, 0], np.int8),
            **{name.replace("__", "/"): value for name, value in changes.items()},
        }
        group = create_group(tmp_path / "pen.zarr", zarr_format)
        for name, values in arrays.items():
            if values is not None:
                create_array(group, name, values.shape, values.dtype.name, 8)[...] = values
        default = {"layout": layout.to_dict(), "rate_hz": 30.0}
        group.attrs.update(default if attributes is None else attributes)
        return tmp_path / "pen.zarr", arrays

    return write


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_data_set_survives_the_round_trip(write, layout, zarr_format):
    path, arrays = write(zarr_format=zarr_format)
    dataset = load_dataset(path, layout)
    np.testing.assert_array_equal(dataset.state, arrays["data/state"])
    np.testing.assert_array_equal(dataset.action, arrays["data/action"])
    np.testing.assert_array_equal(dataset.episode_ends, ENDS)
    assert (dataset.num_episodes, dataset.num_steps, dataset.rate_hz) == (3, 12, 30.0)
    assert dataset.layout == layout
    assert dataset.episodes("train").tolist() == [0, 2]
    assert dataset.episodes("val").tolist() == []
    assert dataset.rows(1) == slice(3, 7)
    assert zarr.open_group(path, mode="r").metadata.zarr_format == zarr_format


def test_obstacles_are_those_of_each_episode(write):
    rows = np.stack([sphere([index, 0, 0], 0.1) for index in range(3)])
    path, _ = write(
        meta__obstacles=rows.astype(np.float32), meta__obstacle_ends=np.array([1, 1, 3])
    )
    dataset = load_dataset(path)
    assert (dataset.has_obstacles, dataset.max_obstacles) == (True, 2)
    assert [dataset.obstacles(index)[:, 0].tolist() for index in range(3)] == [[0], [], [1, 2]]
    assert dataset.obstacles(2).dtype == np.float32


def test_a_data_set_may_have_no_obstacles(write):
    dataset = load_dataset(write()[0])
    assert (dataset.has_obstacles, dataset.max_obstacles) == (False, 0)
    assert dataset.obstacles(1).shape == (0, 12)


def test_statistics_come_from_the_training_rows_alone(write):
    path, arrays = write()
    rows = np.r_[0:3, 7:12]
    stats = load_dataset(path).stats
    np.testing.assert_allclose(stats["state"]["max"], arrays["data/state"][rows].max(axis=0))
    np.testing.assert_allclose(
        stats["action"]["mean"], arrays["data/action"][rows].mean(axis=0), atol=1e-6
    )
    assert stats == dataset_stats(
        arrays["data/state"], arrays["data/action"], ENDS, arrays["meta/split"], path
    )


def test_the_team_s_own_form_is_read_by_the_given_layout_and_shares(write, layout, params):
    path, arrays = write(
        attributes={"state_dim": 25, "action_dim": 6, "num_episodes": 3}, meta__split=None
    )
    dataset = load_dataset(path, layout, params.dataset)
    assert dataset.rate_hz is None
    assert dataset.layout == layout
    assert dataset.split.shape == (3,)
    assert len(dataset.stats["state"]["min"]) == 25
    with pytest.raises(StoreError, match="no layout"):
        load_dataset(path)
    with pytest.raises(StoreError, match="no meta/split"):
        load_dataset(path, layout)
    assert len(arrays["data/state"]) == 12


def test_a_foreign_data_set_is_split_by_content_alone(write, layout, params):
    path, arrays = write(attributes={}, meta__split=None)
    shares = params.override("dataset", val_fraction=0.3, test_fraction=0.3).dataset
    before = load_dataset(path, layout, shares).split
    order = np.r_[3:7, 7:12, 0:3]
    path, _ = write(
        attributes={},
        meta__split=None,
        data__state=arrays["data/state"][order],
        data__action=arrays["data/action"][order],
        meta__episode_ends=np.array([4, 9, 12]),
    )
    np.testing.assert_array_equal(load_dataset(path, layout, shares).split, before[[1, 2, 0]])


def test_a_foreign_data_set_of_other_widths_is_refused(write, layout, params):
    path, _ = write(attributes={}, data__state=np.zeros((12, 18), np.float32))
    with pytest.raises(StoreError, match=r"state and action of 18 and 6.*describes 25"):
        load_dataset(path, layout, params.dataset)


def test_another_layout_is_refused_by_name(write, layout):
    path, _ = write()
    other = Layout.build(layout.joints, "cup", tuple(field.kind for field in layout.state))
    with pytest.raises(LayoutError, match=r"pen\.zarr.*\(pen\).* params\.yaml .*\(cup\)"):
        load_dataset(path, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__action": None}, "data/action is missing.*holds data, data/state, meta.*split$"),
        ({"data__action": np.zeros((12, 7), np.float32)}, r"shape \(12, 7\), expected \(12, 6\)"),
        ({"data__state": np.zeros((11, 25), np.float32)}, r"shape \(11, 25\), expected \(12, 25"),
        ({"meta__episode_ends": np.array([3, 3, 12])}, "episode_ends must rise"),
        ({"meta__episode_ends": np.zeros(0, np.int64)}, r"shape \(0,\), expected \(episodes,\)"),
        ({"meta__split": np.zeros(2, np.int8)}, r"meta/split has shape \(2,\), expected \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(write, changes, message):
    path, _ = write(**changes)
    with pytest.raises(StoreError, match=message):
        load_dataset(path)


def test_an_unknown_split_and_a_group_for_an_array_are_refused(write):
    path, _ = write()
    with pytest.raises(StoreError, match="known: train, val, test"):
        load_dataset(path).episodes("training")
    with pytest.raises(StoreError, match="is a group"):
        read_array(open_group(path), "data", path)


@pytest.mark.parametrize("limit_bytes", [None, 0])
def test_an_array_that_is_missing_or_damaged_is_named(write, params, limit_bytes):
    path, _ = write(
        meta__obstacles=np.float32([sphere([1, 0, 0], 0.1)]),
        meta__obstacle_ends=np.array([0, 0, 1]),
    )

    def read():
        return load_dataset(path, None, params.dataset, limit_bytes)

    check_that_damage_is_named(path, read, "meta/split")


@pytest.mark.parametrize("zeros", [(18, 6), (25, 7)])
def test_arrays_of_other_widths_are_named(write, zeros):
    path, _ = write(data__state=np.zeros((12, zeros[0]), np.float32),
                    data__action=np.zeros((12, zeros[1]), np.float32))  # fmt: skip
    name, width = ("state", 18) if zeros[0] == 18 else ("action", 7)
    with pytest.raises(StoreError, match=rf"pen\.zarr: data/{name} has shape \(12, {width}\)"):
        load_dataset(path)


@pytest.fixture
def chunk_reads(monkeypatch):
    """How often each chunk of a zarr on disk was read."""
    reads = Counter()
    get = zarr.storage.LocalStore.get

    async def counted(self, key, *args, **kwargs):
        reads[key] += 1
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    return reads


def test_a_foreign_data_set_that_stays_on_disk_is_read_chunk_by_chunk(
    tmp_path, layout, params, chunk_reads, monkeypatch
):
    """935 episodes in the team's own form, in chunks of 1000 rows: equal to what memory gives."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(20, 60, size=935))
    group = create_group(tmp_path / "team.zarr", 2)
    arrays = {name: rng.normal(size=(ends[-1], width)).astype(np.float32)
              for name, width in (("state", 25), ("action", 6))}  # fmt: skip
    for name, values in arrays.items():
        create_array(group, f"data/{name}", values.shape, "float32", 1000)[...] = values
    create_array(group, "meta/episode_ends", ends.shape, "int64", 1000)[...] = ends
    monkeypatch.setattr(zarr_arrays, "_BLOCK_ROWS", 1000)
    whole = load_dataset(tmp_path / "team.zarr", layout, params.dataset)
    chunk_reads.clear()
    tracemalloc.start()
    streamed = load_dataset(tmp_path / "team.zarr", layout, params.dataset, limit_bytes=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(streamed.split, whole.split)
    assert streamed.stats == whole.stats
    chunks = {key: number for key, number in chunk_reads.items() if key.endswith(".0")}
    assert len(chunks) == 2 * -(-ends[-1] // 1000)
    assert max(chunks.values()) <= 3  # once for the split, twice for the statistics
    assert peak < arrays["state"].nbytes / 2
