"""Episodes become the training zarr of the contract."""

import json
import tracemalloc

import numpy as np
import pytest
import zarr

from pipeline.dataset import episode_store, zarr_arrays
from pipeline.dataset.episode import Episode, Provenance
from pipeline.dataset.episode_store import EpisodeWriter
from pipeline.dataset.store import load_dataset
from pipeline.dataset.zarr_arrays import StoreError
from pipeline.kinematics import continue_paths
from pipeline.layout import Layout
from pipeline.obstacles import sphere
from pipeline.robot.model import RobotModel
from pipeline.stages import dataset

PROVENANCE = Provenance("bag", "0" * 64, "mcap", "/plans", 0, 0, 0, ("joint_1",))
NO_OBSTACLES = np.zeros((0, 12))


@pytest.fixture(scope="module")
def robot(request):
    return RobotModel.from_params(request.getfixturevalue("params").robot)


@pytest.fixture
def make(params, robot):
    """The episode of a number: from home to a goal of its own in 0.9 s or more."""

    def make(index, obstacles=NO_OBSTACLES):
        t = np.linspace(0.0, 0.9 + 0.05 * (index % 5), 10)
        s = t / t[-1]
        reach = np.array([0.4, 0.3, -0.2, 0.1, -0.3, 0.2]) * (0.5 + 0.01 * index)
        position = np.array(params.robot.home_rad) + reach * (3 * s**2 - 2 * s**3)[:, None]
        velocity = reach * (6 * s - 6 * s**2)[:, None] / t[-1]
        return Episode(
            t, position, velocity, position, robot.fk(position),
            np.array([0.4, 0.001 * index, 0.2]), np.array([0.0, 0.6, 0.8]), PROVENANCE,
            obstacles,
        )  # fmt: skip

    return make


@pytest.fixture
def write(tmp_path, params, make):
    def write(indices, name="episodes.zarr", obstacles=lambda index: NO_OBSTACLES):
        writer = EpisodeWriter(tmp_path / name, params.robot.joints, params.task.object)
        for index in indices:
            writer.add(make(index, obstacles(index)))
        writer.close()
        return tmp_path / name

    return write


def test_the_zarr_keeps_the_contract(tmp_path, params, write, make):
    dataset.run(params, tmp_path / "out", write(range(30)))
    path = tmp_path / "out/pen_grasp.zarr"
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 2
    assert {name: (a.dtype.name, a.shape[1:]) for name, a in group["data"].arrays()} == {
        "state": ("float32", (25,)),
        "action": ("float32", (6,)),
    }
    assert group["meta/episode_ends"].dtype == np.int64
    attributes = dict(group.attrs)
    read = load_dataset(path, Layout.from_params(params))
    steps = [int(np.ceil(make(i).duration_s * 30 - 1e-6)) + 1 + 20 for i in range(30)]
    np.testing.assert_array_equal(read.episode_ends, np.cumsum(steps))
    assert attributes["num_episodes"] == 30
    assert attributes["total_timesteps"] == sum(steps) == len(read.state)
    assert (attributes["state_dim"], attributes["action_dim"]) == (25, 6)
    assert set(attributes["metadata"]) == {
        "state_type", "action_type", "robot", "task", "source",
    }  # fmt: skip
    assert read.rate_hz == params.dataset.rate_hz
    files = [file for file in path.rglob("*") if file.is_file()]
    assert len(files) <= 20


def test_obstacles_reach_the_zarr(tmp_path, params, write, capsys):
    around = [np.array([sphere([i, j, 0], 0.1) for j in range(i % 3)]).reshape(-1, 12)
              for i in range(30)]  # fmt: skip
    dataset.run(params, tmp_path / "out", write(range(30), obstacles=around.__getitem__))
    assert "obstacles in 20 episodes, at most 2 in one" in capsys.readouterr().out
    read = load_dataset(tmp_path / "out/pen_grasp.zarr")
    assert (read.has_obstacles, read.max_obstacles) == (True, 2)
    for index, rows in enumerate(around):
        np.testing.assert_array_equal(read.obstacles(index), rows.astype(np.float32))
    summary = json.loads((tmp_path / "out/dataset.json").read_text())
    assert summary["obstacles"] == {"episodes": 20, "most": 2}
    dataset.run(params, tmp_path / "free", write(range(30), "free.zarr"))
    free = json.loads((tmp_path / "free/dataset.json").read_text())
    assert "obstacles" not in free and free["content"] != summary["content"]
    held = {entry.name for entry in (tmp_path / "free/pen_grasp.zarr/meta").iterdir()}
    assert held == {".zgroup", ".zattrs", "episode_ends", "split"}


def test_states_hold_the_fields_of_the_layout(tmp_path, params, write, make, robot):
    dataset.run(params, tmp_path / "out", write(range(12)))
    read = load_dataset(tmp_path / "out/pen_grasp.zarr")
    for index in (0, 7):
        episode, rows = make(index), read.rows(index)
        state = read.state[rows].astype(np.float64)
        position = read.layout.unpack(state, "joint_pos")
        np.testing.assert_allclose(position[0], episode.joint_pos[0], atol=1e-6)
        np.testing.assert_allclose(
            position[-21:], np.tile(episode.joint_pos[-1], (21, 1)), atol=1e-6
        )
        ee_pose = read.layout.unpack(state, "ee_pose")
        expected = robot.fk(position)
        expected[:, 3:] = continue_paths(expected[:, 3:], np.zeros(1, np.int64))
        np.testing.assert_allclose(ee_pose, expected, atol=1e-5)
        velocity = read.layout.unpack(state, "joint_vel")
        np.testing.assert_array_equal(velocity[-20:], 0.0)
        slope = np.gradient(position[:25], 1 / 30, axis=0)
        np.testing.assert_allclose(velocity[1:24], slope[1:24], atol=0.05)
        np.testing.assert_allclose(
            read.layout.unpack(state, "object_pos"), np.tile(episode.object_pos, (len(state), 1)),
            atol=1e-6,
        )  # fmt: skip


def test_an_action_is_the_joint_position_of_the_next_step_and_then_stays(tmp_path, params, write):
    dataset.run(params, tmp_path / "out", write(range(12)))
    read = load_dataset(tmp_path / "out/pen_grasp.zarr")
    for index in range(12):
        rows = read.rows(index)
        position = read.layout.unpack(read.state[rows], "joint_pos")
        np.testing.assert_array_equal(read.action[rows][:-1], position[1:])
        np.testing.assert_array_equal(read.action[rows][-1], position[-1])


def test_same_step_labels_come_with_a_warning(tmp_path, params, write, capsys):
    changed = params.override("dataset", labels="same_step")
    dataset.run(changed, tmp_path / "out", write(range(12)))
    read = load_dataset(tmp_path / "out/pen_grasp.zarr")
    np.testing.assert_array_equal(read.action, read.layout.unpack(read.state, "joint_pos"))
    assert "warning: dataset.labels is same_step" in capsys.readouterr().out


def test_adding_episodes_moves_none_between_splits(tmp_path, params, write):
    dataset.run(params, tmp_path / "few", write(range(15)))
    dataset.run(params, tmp_path / "many", write(range(40), "more.zarr"))
    few, many = (load_dataset(tmp_path / name / "pen_grasp.zarr") for name in ("few", "many"))
    np.testing.assert_array_equal(many.split[:15], few.split)
    assert set(many.split) == {0, 1, 2}


def test_the_summary_counts_what_the_zarr_holds(tmp_path, params, write):
    dataset.run(params, tmp_path / "out", write(range(40)))
    summary = json.loads((tmp_path / "out/dataset.json").read_text())
    read = load_dataset(tmp_path / "out/pen_grasp.zarr")
    assert (summary["episodes"], summary["steps"]) == (40, read.num_steps)
    for name in ("train", "val", "test"):
        episodes = read.episodes(name)
        steps = sum(read.rows(e).stop - read.rows(e).start for e in episodes)
        assert summary["splits"][name] == {"episodes": len(episodes), "steps": steps}
    assert summary["layout"] == read.layout.fingerprint


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_same_episodes_give_the_same_bytes(tmp_path, params, write, zarr_format):
    source = write(range(12))
    changed = params.override("dataset", zarr_format=zarr_format)
    for name in ("one", "two"):
        dataset.run(changed, tmp_path / name, source)
    one, two = tmp_path / "one", tmp_path / "two"
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) > 6
    assert all((one / path).read_bytes() == (two / path).read_bytes() for path in files)


def test_memory_does_not_grow_with_the_number_of_episodes(tmp_path, params, write, monkeypatch):
    """100 more episodes, in chunks of 256 rows: the peak grows by less than their own size.

    Holding them would take several times that: episodes, steps and the arrays that are written.
    """
    monkeypatch.setattr(episode_store, "_CHUNK_ROWS", 256)
    monkeypatch.setattr(zarr_arrays, "_BLOCK_ROWS", 256)
    small = params.override("dataset", chunk_rows=256)
    peaks, sizes = [], []
    for number in (100, 200):
        source = write(range(number), f"{number}.zarr")
        tracemalloc.start()
        dataset.run(small, tmp_path / str(number), source)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        read = load_dataset(tmp_path / str(number) / "pen_grasp.zarr")
        sizes.append(read.state.nbytes + read.action.nbytes)
    assert peaks[1] - peaks[0] < sizes[1] - sizes[0]


def test_no_training_episode_fails_and_leaves_the_last_output_alone(tmp_path, params, write):
    source = write(range(3))
    dataset.run(params, tmp_path / "out", source)
    before = (tmp_path / "out/dataset.json").read_bytes()
    greedy = params.override("dataset", val_fraction=0.0, test_fraction=0.999)
    with pytest.raises(dataset.DatasetError, match="none of 3 episodes fell to training"):
        dataset.run(greedy, tmp_path / "out", source)
    with pytest.raises(dataset.DatasetError, match="ingest left no episode"):
        dataset.run(params, tmp_path / "out", write([], "none.zarr"))
    assert (tmp_path / "out/dataset.json").read_bytes() == before


def test_missing_episodes_fail_by_name(tmp_path, params):
    with pytest.raises(StoreError, match=r"episodes\.zarr: no such folder"):
        dataset.run(params, tmp_path / "out", tmp_path / "episodes.zarr")
