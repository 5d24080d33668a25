"""Episodes survive the round trip through their zarr, chunk by chunk."""

import numpy as np
import pytest
import zarr

import pipeline.dataset.episode_store as episodes_module
from pipeline.dataset.episode_store import EpisodeWriter, read_episodes
from pipeline.dataset.zarr_arrays import StoreError
from pipeline.obstacles import box, sphere

from .damage import check_that_damage_is_named

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))
FIELDS = ("t", "joint_pos", "joint_vel", "joint_command", "ee_pose", "object_pos", "object_axis")


def write(path, episodes):
    writer = EpisodeWriter(path, JOINTS, "pen")
    for one in episodes:
        writer.add(one)
    writer.close()
    return path


@pytest.fixture
def several(episode):
    return [
        episode(object_pos=np.array([0.4, 0.01 * index, 0.2]), t=np.linspace(0, 1 + index, 13))
        for index in range(5)
    ]


@pytest.mark.parametrize("chunk_rows", [65536, 20])
def test_episodes_survive_the_round_trip(tmp_path, several, monkeypatch, chunk_rows):
    monkeypatch.setattr(episodes_module, "_CHUNK_ROWS", chunk_rows)
    path = write(tmp_path / "episodes.zarr", several)
    read = list(read_episodes(path, JOINTS, "pen"))
    assert len(read) == len(several)
    for one, other in zip(several, read, strict=True):
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.provenance == other.provenance
        assert one.content_hash == other.content_hash


def test_obstacles_survive_the_round_trip(tmp_path, episode):
    around = [np.zeros((0, 12)), np.stack([box([1, 2, 3], [0.1, 0.2, 0.3]), sphere([0, 1, 2], 1)])]
    path = write(tmp_path / "episodes.zarr", [episode(obstacles=rows) for rows in around])
    for rows, read in zip(around, read_episodes(path, JOINTS, "pen"), strict=True):
        np.testing.assert_array_equal(rows, read.obstacles)


def test_samples_are_doubles_in_chunks_of_whole_rows_that_unpack_fast(tmp_path, several):
    group = zarr.open_group(write(tmp_path / "episodes.zarr", several), mode="r")
    arrays = dict(group["data"].arrays())
    shapes = {"t": (), "joint_pos": (6,), "joint_vel": (6,), "joint_command": (6,), "ee_pose": (7,)}
    assert {name: array.shape for name, array in arrays.items()} == {
        name: (65, *shape) for name, shape in shapes.items()
    }
    for name, array in arrays.items():
        assert (array.dtype, array.chunks) == (np.float64, (65536, *shapes[name]))
        assert [(codec.cname, codec.clevel) for codec in array.compressors] == [("lz4", 1)]


def test_without_obstacles_the_zarr_has_no_arrays_for_them(tmp_path, several):
    path = write(tmp_path / "episodes.zarr", several)
    held = {entry.name for entry in (path / "meta").iterdir()} - {".zgroup", ".zattrs"}
    assert held == {"episode_ends", "object_pos", "object_axis", "provenance"}


def test_the_same_episodes_give_the_same_bytes(tmp_path, several):
    one, two = (write(tmp_path / name, several) for name in ("one", "two"))
    files = sorted(file.relative_to(one) for file in one.rglob("*") if file.is_file())
    assert len(files) > 8
    assert all((one / file).read_bytes() == (two / file).read_bytes() for file in files)


def test_no_episodes_are_none(tmp_path):
    assert list(read_episodes(write(tmp_path / "none", []), JOINTS, "pen")) == []


@pytest.mark.parametrize(
    ("joints", "object_name", "message"),
    [(("a", "b"), "pen", "made for joints"), (JOINTS, "cup", "made for object 'pen'")],
)
def test_episodes_of_another_arm_or_object_are_refused(
    tmp_path, several, joints, object_name, message
):
    path = write(tmp_path / "episodes.zarr", several)
    with pytest.raises(StoreError, match=message):
        list(read_episodes(path, joints, object_name))


def test_an_array_that_is_missing_or_damaged_is_named(tmp_path, episode):
    path = write(tmp_path / "episodes.zarr", [episode(obstacles=sphere([0, 1, 2], 1)[None])])
    check_that_damage_is_named(path, lambda: list(read_episodes(path, JOINTS, "pen")))


@pytest.mark.parametrize(
    ("name", "shape", "found"),
    [
        ("data/t", (7,), r"episodes \[5\], samples \[7, 65\]"),
        ("meta/object_pos", (6, 3), r"episodes \[5, 6\], samples \[65\]"),
    ],
)
def test_arrays_of_different_length_are_refused(tmp_path, several, name, shape, found):
    path = write(tmp_path / "episodes.zarr", several)
    zarr.open_group(path)[name].resize(shape)
    with pytest.raises(StoreError, match=f"differ in length.*{found}"):
        list(read_episodes(path, JOINTS, "pen"))


def test_provenance_of_another_form_is_refused(tmp_path, several):
    path = write(tmp_path / "episodes.zarr", several)
    group = zarr.open_group(path)
    text = group["meta/provenance"][:].tobytes().replace(b'"topic"', b'"tipoc"')
    group["meta/provenance"][:] = np.frombuffer(text, np.uint8)
    with pytest.raises(StoreError, match=r"episodes\.zarr: provenance \{.*'tipoc'.*misses"):
        list(read_episodes(path, JOINTS, "pen"))
