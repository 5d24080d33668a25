"""What is written has the files of LeRobot v3, and is read back number by number."""

import json
import sys

import numpy as np
import pytest
from pyarrow import parquet

from pipeline.layout import Layout
from pipeline.recordings.formats.lerobot import LerobotError, read_lerobot
from pipeline.recordings.formats.lerobot_writer import LerobotWriter

POSITIONS = tuple(f"joint_{number}.pos" for number in range(1, 7))
FEATURES = {"observation.state": POSITIONS, "action": POSITIONS}
SPLITS = {"train": (0, 2), "test": (2, 3)}


@pytest.fixture
def layout(params):
    return Layout.from_params(params)


def episodes(lengths, width=6):
    rng = np.random.default_rng(0)
    return [
        {name: rng.normal(size=(length, width)).astype(np.float32) for name in FEATURES}
        for length in lengths
    ]


def write(folder, frames, features=FEATURES, fps=30, **options):
    writer = LerobotWriter(folder, features, fps, "grasp the pen", "e0509", **options)
    for each in frames:
        writer.add(each)
    writer.close(SPLITS)
    return folder


def rows(folder, part):
    files = sorted((folder / part).rglob("*.parquet"))
    return [row for file in files for row in parquet.ParquetFile(file).read().to_pylist()]


def test_the_files_are_those_of_lerobot(tmp_path):
    folder = write(tmp_path / "set", episodes([4, 3, 5]))
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json", "meta/stats.json", "meta/tasks.parquet",
    ]  # fmt: skip
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (3, 12, 30)
    assert info["splits"] == {"train": "0:2", "test": "2:3"}
    state = {"dtype": "float32", "shape": [6], "names": list(POSITIONS)}
    assert info["features"]["observation.state"] == state
    assert info["features"]["index"] == {"dtype": "int64", "shape": [1], "names": None}
    assert json.loads((folder / "meta/stats.json").read_text())["action"]["count"] == [12]
    tasks = parquet.read_table(folder / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "grasp the pen"}]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_frames_are_counted_in_their_episode_and_in_all(tmp_path):
    found = rows(write(tmp_path / "set", episodes([2, 3])), "data")
    counted = ("frame_index", "episode_index", "index", "task_index")
    assert [tuple(row[name] for name in counted) for row in found] == [
        (0, 0, 0, 0), (1, 0, 1, 0), (0, 1, 2, 0), (1, 1, 3, 0), (2, 1, 4, 0),
    ]  # fmt: skip
    stamps = np.float32([0, 1 / 30, 0, 1 / 30, 2 / 30])
    np.testing.assert_array_equal([row["timestamp"] for row in found], stamps)


def test_episodes_say_where_their_frames_are(tmp_path):
    folder = write(tmp_path / "set", episodes([4, 3, 5]), file_bytes=700)
    data = sorted((folder / "data").rglob("*.parquet"))
    assert [path.name for path in data] == ["file-000.parquet", "file-001.parquet"]
    for row in rows(folder, "meta/episodes"):
        assert row["tasks"] == ["grasp the pen"]
        place = f"chunk-{row['data/chunk_index']:03d}/file-{row['data/file_index']:03d}.parquet"
        frames = [frame for frame in parquet.read_table(folder / "data" / place).to_pylist()
                  if frame["episode_index"] == row["episode_index"]]  # fmt: skip
        indices = list(range(row["dataset_from_index"], row["dataset_to_index"]))
        assert [frame["index"] for frame in frames] == indices
        assert len(frames) == row["length"] == row["stats/action/count"][0]
        mean = np.mean([frame["action"] for frame in frames], axis=0)
        np.testing.assert_allclose(row["stats/action/mean"], mean, rtol=1e-6)
        number = row["meta/episodes/file_index"]
        path = folder / f"meta/episodes/chunk-000/file-{number:03d}.parquet"
        assert row["episode_index"] in parquet.read_table(path)["episode_index"].to_pylist()


def test_an_episode_is_a_row_group(tmp_path):
    folder = write(tmp_path / "set", episodes([4, 3, 5]))
    file = parquet.ParquetFile(folder / "data/chunk-000/file-000.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(3)] == [4, 3, 5]


def test_files_beyond_a_thousand_go_to_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.recordings.formats.lerobot_writer._FILES_PER_FOLDER", 2)
    monkeypatch.setattr("pipeline.recordings.formats.lerobot_writer._WAITING", 1)
    folder = write(tmp_path / "set", episodes([2, 2, 2]), file_bytes=1)
    for part in ("data", "meta/episodes"):
        names = [path.relative_to(folder / part).as_posix()
                 for path in sorted((folder / part).rglob("*.parquet"))]  # fmt: skip
        assert names == ["chunk-000/file-000.parquet", "chunk-000/file-001.parquet",
                         "chunk-001/file-000.parquet"]  # fmt: skip
    places = [(row["meta/episodes/chunk_index"], row["data/chunk_index"], row["data/file_index"])
              for row in rows(folder, "meta/episodes")]  # fmt: skip
    assert places == [(0, 0, 0), (0, 0, 1), (1, 1, 0)]


def test_what_is_read_back_is_equal_in_every_bit(tmp_path, layout):
    frames = episodes([400, 30])
    read = list(read_lerobot(write(tmp_path / "set", frames, file_bytes=9000), layout, "base_link"))
    for written, found in zip(frames, read, strict=True):
        np.testing.assert_array_equal(found.execution.joint_pos, written["observation.state"])
        (segment,) = found.plan.segments
        np.testing.assert_array_equal(segment.joint_pos[1:], written["action"][:-1])
        # Not the rounded time stamps: 13.3 s would be off by a fifth of a microsecond.
        np.testing.assert_array_equal(segment.t, np.arange(len(segment.t)) / 30)


def test_an_arm_of_one_joint_is_read_back(tmp_path):
    layout = Layout.build(("slide",), "pen", ("joint_pos",))
    features = dict.fromkeys(FEATURES, ("slide.pos",))
    frames = episodes([5], width=1)
    (found,) = read_lerobot(write(tmp_path / "set", frames, features), layout, "base_link")
    np.testing.assert_array_equal(found.execution.joint_pos, frames[0]["observation.state"])


def test_without_pyarrow_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LerobotError, match=r"set: writing parquet needs pyarrow, .*\[lerobot\]"):
        write(tmp_path / "set", [])
