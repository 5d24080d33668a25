"""LeRobot v3 data sets become demonstrations; other versions are refused."""

import json
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from pipeline.layout import Layout
from pipeline.recordings.formats.lerobot import LerobotError, is_lerobot, read_lerobot

JOINTS = [f"joint_{index}" for index in range(1, 7)]


@pytest.fixture
def layout(params):
    return Layout.from_params(params)


def info(path, version="v3.0", names=None):
    (path / "meta").mkdir(parents=True)
    features = {"observation.state": {"dtype": "float32", "names": names}}
    text = json.dumps({"codebase_version": version, "fps": 10, "features": features})
    (path / "meta" / "info.json").write_text(text)
    return path


def write(path, names=None, order=range(6), split=7, extra=0, lag=0.0):
    """Two episodes of five steps, the second of them split over two files."""
    info(path, names=names)
    folder = path / "data" / "chunk-000"
    folder.mkdir(parents=True)
    base = np.linspace(0, 1, 10)[:, None] + np.arange(6) * 0.1
    state = np.hstack([base[:, list(order)], np.zeros((10, extra))])
    action = np.concatenate([part[[1, 2, 3, 4, 4]] for part in np.split(state, 2)])
    columns = {
        "observation.state": (state - lag).tolist(),
        "action": action.tolist(),
        "observation.environment_state": np.tile([0.4, 0, 0.2, 0, 0, 1.0], (10, 1)).tolist(),
        "timestamp": [0.1 * (row % 5) for row in range(10)],
        "episode_index": [row // 5 for row in range(10)],
        "next.done": [False] * 10,
    }
    table = pyarrow.table(columns)
    for index, rows in enumerate((slice(0, split), slice(split, 10))):
        part = table.slice(rows.start, rows.stop - rows.start)
        parquet.write_table(part, folder / f"file-{index:03d}.parquet")
    return path


def test_episodes_may_span_two_files(tmp_path, layout):
    path = write(tmp_path / "set")
    assert is_lerobot(path)
    first, second = read_lerobot(path, layout, "base_link")
    for index, item in enumerate((first, second)):
        (segment,) = item.plan.segments
        np.testing.assert_allclose(segment.t, np.arange(5) / 10)
        np.testing.assert_allclose(segment.joint_pos[:, 0], np.arange(5) / 9 + index * 5 / 9)
        np.testing.assert_allclose(item.object_pose.position, [0.4, 0.0, 0.2])
        assert item.plan.message == index


def test_states_that_lag_their_commands_become_the_episode(tmp_path, layout):
    first, _ = read_lerobot(write(tmp_path / "set", lag=0.02), layout, "base_link")
    assert first.keeps_states
    np.testing.assert_allclose(first.execution.joint_pos[:, 0], np.arange(5) / 9 - 0.02)
    np.testing.assert_allclose(first.plan.segments[0].joint_pos[1:, 0], np.arange(1, 5) / 9)


def test_joints_are_found_by_the_names_of_the_features(tmp_path, layout):
    order = [5, 4, 3, 2, 1, 0]
    names = {"motors": [*(f"arm_{JOINTS[index]}.pos" for index in order), "gripper.pos"]}
    first, _ = read_lerobot(write(tmp_path / "set", names, order, extra=1), layout, "base_link")
    (segment,) = first.plan.segments
    assert segment.joint_names == tuple(f"arm_{name}" for name in JOINTS)
    np.testing.assert_allclose(segment.joint_pos[0], np.arange(6) * 0.1)


def test_another_number_of_joints_is_refused(tmp_path, layout):
    path = write(tmp_path / "set", extra=2)
    with pytest.raises(LerobotError, match=r"has 8 numbers a step .*expected 6 joints"):
        list(read_lerobot(path, layout, "base_link"))


def test_rows_of_different_length_are_refused(tmp_path, layout):
    path = write(tmp_path / "set")
    file = path / "data" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(file)
    ragged = [[0.0] * (5 + row % 3) for row in range(len(table))]
    column = table.schema.get_field_index("action")
    parquet.write_table(table.set_column(column, "action", [ragged]), file)
    with pytest.raises(LerobotError, match="action: rows differ in length"):
        list(read_lerobot(path, layout, "base_link"))


@pytest.mark.parametrize(
    "kind", [pyarrow.list_(pyarrow.float32(), 6), pyarrow.large_list(pyarrow.float64())]
)
def test_lists_of_any_kind_are_read(tmp_path, layout, kind):
    path = write(tmp_path / "set", split=10)
    file = path / "data" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(file)
    column = table.schema.get_field_index("action")
    cast = table["action"].cast(kind)
    parquet.write_table(table.set_column(column, "action", cast), file)
    first, _ = read_lerobot(path, layout, "base_link")
    np.testing.assert_allclose(first.plan.segments[0].joint_pos[:, 0], np.arange(5) / 9)


def test_files_that_differ_in_width_are_refused(tmp_path, layout):
    path = write(tmp_path / "set")
    file = path / "data" / "chunk-000" / "file-001.parquet"
    table = parquet.read_table(file)
    column = table.schema.get_field_index("action")
    wide = table.set_column(column, "action", [[[0.0] * 7] * len(table)])
    parquet.write_table(wide, file)
    with pytest.raises(LerobotError, match=r"001\.parquet: action has rows of shape \(7,\)"):
        list(read_lerobot(path, layout, "base_link"))


def test_obstacles_of_other_makers_are_not_read(tmp_path, layout):
    path = write(tmp_path / "set")
    for file in sorted((path / "data").rglob("*.parquet")):
        table = parquet.read_table(file)
        table = table.append_column("observation.obstacles", [[[0.1] * 12] * len(table)])
        parquet.write_table(table, file)
    first, _ = read_lerobot(path, layout, "base_link")
    assert first.obstacles is None


def test_a_damaged_file_is_refused(tmp_path, layout):
    path = write(tmp_path / "set")
    file = path / "data" / "chunk-000" / "file-001.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(LerobotError, match="not readable as parquet"):
        list(read_lerobot(path, layout, "base_link"))


def test_for_another_version_the_error_says_how_to_convert(tmp_path, layout):
    path = info(tmp_path / "set", "v2.1")
    with pytest.raises(LerobotError, match=r"format v2\.1, expected v3: convert it"):
        list(read_lerobot(path, layout, "base_link"))


def test_a_set_without_data_or_with_broken_information_is_refused(tmp_path, layout):
    path = info(tmp_path / "set")
    with pytest.raises(LerobotError, match=r"holds no data/\*\*/\*\.parquet"):
        list(read_lerobot(path, layout, "base_link"))
    (path / "meta" / "info.json").write_text("[]")
    with pytest.raises(LerobotError, match=r"info\.json: not readable"):
        list(read_lerobot(path, layout, "base_link"))


def test_without_pyarrow_the_error_says_how_to_get_it(tmp_path, layout, monkeypatch):
    path = info(tmp_path / "set")
    (path / "data").mkdir()
    (path / "data" / "file-000.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LerobotError, match="needs pyarrow, which is not installed: `pip install"):
        list(read_lerobot(path, layout, "base_link"))
