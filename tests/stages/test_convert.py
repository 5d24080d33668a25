"""The training zarr becomes a LeRobot data set, and comes back through ingest unchanged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.dataset.episode import Episode, Provenance
from pipeline.dataset.episode_store import EpisodeWriter, read_episodes
from pipeline.dataset.store import load_dataset
from pipeline.dataset.zarr_arrays import StoreError
from pipeline.layout import Layout, LayoutError
from pipeline.obstacles import box, sphere
from pipeline.recordings.formats.diffusion_policy_zarr import read_zarr
from pipeline.recordings.formats.lerobot import LerobotError, read_lerobot
from pipeline.recordings.formats.lerobot_writer import LerobotWriter
from pipeline.robot.model import RobotModel
from pipeline.stages import convert, dataset, ingest
from pipeline.stages.convert import ConvertError

REPOSITORY = Path(__file__).parents[2]
EPISODES = 24
NO_OBSTACLES = np.zeros((0, 12))
BALL, CASE = sphere([0.5, 0.4, 0.3], 0.05), box([0.5, -0.4, 0.1], [0.1, 0.2, 0.3])
AROUND = {3: np.stack([BALL]), 7: np.stack([CASE, BALL])}


@pytest.fixture(scope="module")
def make_zarr(params, tmp_path_factory):
    """The zarr that stage dataset makes of plans from home, each with a goal and pen of its own."""
    robot = RobotModel.from_params(params.robot)

    def make(obstacles=None, number=EPISODES):
        folder = tmp_path_factory.mktemp("zarr")
        writer = EpisodeWriter(folder / "episodes.zarr", params.robot.joints, "pen")
        for index in range(number):
            t = np.linspace(0.0, 1.2 + 0.05 * (index % 5), 30)
            s = t / t[-1]
            reach = np.array([0.4, 0.3, -0.2, 0.1, -0.3, 0.2]) * (0.5 + 0.02 * index)
            position = np.array(params.robot.home_rad) + reach * (3 * s**2 - 2 * s**3)[:, None]
            velocity = reach * (6 * s - 6 * s**2)[:, None] / t[-1]
            provenance = Provenance("bag", "0" * 64, "mcap", "/plans", index, 0, 0, ("joint_1",))
            writer.add(Episode(
                t, position, velocity, position, robot.fk(position),
                np.array([0.4, 0.001 * index, 0.2]), np.array([0.0, 0.6, 0.8]), provenance,
                (obstacles or {}).get(index, NO_OBSTACLES),
            ))  # fmt: skip
        writer.close()
        dataset.run(params, folder / "dataset", folder / "episodes.zarr")
        return folder / "dataset" / "pen_grasp.zarr"

    return make


@pytest.fixture(scope="module")
def plain(make_zarr):
    return make_zarr()


@pytest.fixture(scope="module")
def arranged(make_zarr):
    return make_zarr(AROUND)


def arrays(candidate):
    """Every number of a candidate."""
    parts = [candidate.object_pose.position, candidate.object_pose.orientation]
    for segment in candidate.plan.segments:
        parts += [segment.t, segment.joint_pos]
        parts += [] if segment.joint_vel is None else [segment.joint_vel]
    if candidate.execution is not None:
        parts += [candidate.execution.t, candidate.execution.joint_pos,
                  candidate.execution.joint_vel]  # fmt: skip
    around = candidate.obstacles
    return [*parts, NO_OBSTACLES if around is None else around.rows]


@pytest.mark.parametrize("source", ["plain", "arranged"])
def test_ingest_reads_the_same_numbers_as_of_the_zarr(request, tmp_path, params, source):
    path, layout = request.getfixturevalue(source), Layout.from_params(params)
    convert.run(params, tmp_path / "set", "lerobot", path)
    order = np.argsort(zarr.open_group(path, mode="r")["meta/split"][:], kind="stable")
    expected = list(read_zarr(path, layout, None, "base_link"))
    found = list(read_lerobot(tmp_path / "set", layout, "base_link"))
    assert len(found) == len(order) == EPISODES
    for index, each in zip(order, found, strict=True):
        for values, known in zip(arrays(each), arrays(expected[index]), strict=True):
            np.testing.assert_array_equal(values, known)
    assert sum(len(each.obstacles.rows) for each in found if each.obstacles is not None) == (
        3 if source == "arranged" else 0
    )


def test_the_stage_ingest_makes_the_same_episodes(tmp_path, params, arranged):
    convert.run(params, tmp_path / "set", "lerobot", arranged)
    once = params.override("ingest", workers=1)
    episodes = []
    for name, source in (("zarr", arranged), ("lerobot", tmp_path / "set")):
        ingest.run(once, tmp_path / name, source)
        found = read_episodes(tmp_path / name / "episodes.zarr", params.robot.joints, "pen")
        episodes.append(sorted(found, key=lambda each: each.content_hash))
    assert len(episodes[0]) == EPISODES
    for known, found in zip(*episodes, strict=True):
        assert found.provenance.storage == "lerobot"
        for name in ("t", "joint_pos", "joint_vel", "joint_command", "ee_pose", "object_pos",
                     "object_axis", "obstacles"):  # fmt: skip
            np.testing.assert_array_equal(getattr(found, name), getattr(known, name))


def test_splits_are_ranges_of_episodes(tmp_path, params, plain, capsys):
    convert.run(params, tmp_path / "set", "lerobot", plain, task="take the pen")
    read = load_dataset(plain, Layout.from_params(params))
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert set(info["splits"]) == {"train", "val", "test"}
    for name, text in info["splits"].items():
        start, end = map(int, text.split(":"))
        assert end - start == len(read.episodes(name))
    assert (info["total_frames"], info["fps"]) == (read.num_steps, 30)
    assert info["robot_type"] == params.robot.urdf.stem
    names = info["features"]["observation.environment_state"]["names"]
    assert names[0] == "pen_pos.x" and names[-1] == "pen_axis.z"
    assert info["features"]["action"]["names"] == [f"{name}.pos" for name in params.robot.joints]
    assert not [path for path in (tmp_path / "set").iterdir() if path.name.startswith(".")]
    said = capsys.readouterr().out
    assert "left out" in said and f"0:{len(read.episodes('train'))}" in said


def test_obstacles_are_a_column_and_unused_ones_are_far_away(tmp_path, params, arranged, plain):
    for name, path in (("with", arranged), ("without", plain)):
        convert.run(params, tmp_path / name, "lerobot", path)
    with_obstacles, without = (
        json.loads((tmp_path / name / "meta/info.json").read_text())["features"]
        for name in ("with", "without")
    )
    assert with_obstacles["observation.obstacles"]["shape"] == [24]
    assert with_obstacles["observation.obstacles"]["names"][12] == "obstacle_2.x"
    assert "observation.obstacles" not in without
    stats = json.loads((tmp_path / "with/meta/stats.json").read_text())
    assert stats["observation.obstacles"]["max"][0] == 100


def test_a_folder_that_holds_something_is_not_touched(tmp_path, params, plain):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").touch()
    with pytest.raises(ConvertError, match="set: exists and is not an empty folder"):
        convert.run(params, tmp_path / "set", "lerobot", plain)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine"]
    (tmp_path / "set" / "mine").unlink()
    convert.run(params, tmp_path / "set", "lerobot", plain)


def test_a_failed_run_leaves_nothing(tmp_path, params, plain, monkeypatch):
    shutil.copytree(plain, tmp_path / "damaged.zarr")
    for chunk in (tmp_path / "damaged.zarr/data/action").glob("[0-9]*"):
        chunk.write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="data/action cannot be read"):
        convert.run(params, tmp_path / "set", "lerobot", tmp_path / "damaged.zarr")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LerobotError, match=r"pip install '\.\[lerobot\]'"):
        convert.run(params, tmp_path / "set", "lerobot", plain)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.zarr"]


def test_what_lerobot_cannot_hold_is_refused(tmp_path, params, plain):
    out = tmp_path / "set"
    with pytest.raises(ConvertError, match="--to hdf5: unknown format; known: lerobot"):
        convert.run(params, out, "hdf5", plain)
    with pytest.raises(StoreError, match=r"absent\.zarr: no such folder"):
        convert.run(params, out, "lerobot", tmp_path / "absent.zarr")
    with pytest.raises(LayoutError, match="make one of them again"):
        convert.run(params.override("task", object="cup"), out, "lerobot", plain)
    shutil.copytree(plain, tmp_path / "odd.zarr")
    attributes = zarr.open_group(tmp_path / "odd.zarr", mode="a").attrs
    attributes["rate_hz"] = 12.5
    with pytest.raises(ConvertError, match=r"12\.5 steps per second, .* a whole number"):
        convert.run(params, out, "lerobot", tmp_path / "odd.zarr")
    del attributes["rate_hz"]
    with pytest.raises(ConvertError, match=r"odd\.zarr: names no control rate; .* --rate-hz"):
        convert.run(params, out, "lerobot", tmp_path / "odd.zarr")
    convert.run(params, out, "lerobot", tmp_path / "odd.zarr", rate_hz=10.0)
    assert json.loads((out / "meta/info.json").read_text())["fps"] == 10


def test_states_without_joints_or_object(tmp_path, params, plain, capsys):
    read = zarr.open_group(plain, mode="r")
    for fields in (("joint_pos", "joint_vel"), ("object_pos", "object_axis")):
        chosen = params.override("task", state_fields=fields)
        layout = Layout.from_params(chosen)
        path = tmp_path / f"{fields[0]}.zarr"
        shutil.copytree(plain, path)
        group = zarr.open_group(path, mode="a")
        states = np.zeros((read["data/state"].shape[0], layout.state_dim), np.float32)
        del group["data/state"]
        group["data"].create_array("state", data=states)
        del group.attrs["stats"]
        group.attrs["layout"] = layout.to_dict()
        if fields[0] == "joint_pos":
            convert.run(chosen, tmp_path / "set", "lerobot", path)
            assert "no observation.environment_state" in capsys.readouterr().out
            continue
        with pytest.raises(ConvertError, match="lacks joint_pos"):
            convert.run(chosen, tmp_path / "other", "lerobot", path)


@pytest.fixture(scope="session")
def lerobot() -> Path:
    """The programs of an environment with LeRobot from the package index.

    LEROBOT_PYTHON names the Python of one; else .state/lerobot is made once, with this Python.
    """
    if chosen := os.environ.get("LEROBOT_PYTHON"):
        return Path(chosen).parent
    place = REPOSITORY / ".state" / "lerobot"
    programs = place / "bin"
    if not (programs / "lerobot-train").exists():
        environment = [sys.executable, "-m", "venv", "--clear", place]
        package = [programs / "python", "-m", "pip", "install", "--quiet", "--no-cache-dir",
                   "lerobot[training,diffusion]"]  # fmt: skip
        for command in (environment, package):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(place, ignore_errors=True)
                reason = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
                pytest.skip(f"LeRobot cannot be installed: {reason[-1]}")
    return programs


def call(command, tmp_path):
    """Run a program of LeRobot's environment without network; returns what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, env=environment,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr, done.stdout


@pytest.mark.slow
def test_lerobot_reads_the_same_numbers(lerobot, tmp_path, params, make_zarr, monkeypatch):
    path = make_zarr({1: AROUND[7]}, number=6)
    small_files = partial(LerobotWriter, file_bytes=30_000)
    monkeypatch.setattr(convert, "LerobotWriter", small_files)
    convert.run(params, tmp_path / "set", "lerobot", path)
    assert len(list((tmp_path / "set/data").rglob("*.parquet"))) > 2
    driver = Path(__file__).with_name("lerobot_driver.py")
    _, out = call([lerobot / "python", driver, tmp_path / "set", tmp_path / "own"], tmp_path)
    found = json.loads(out.splitlines()[-1])
    assert found["differences"] == [], found["version"]
    assert (found["episodes"], found["task"]) == (6, "grasp the pen")
    read, layout = load_dataset(path, Layout.from_params(params)), Layout.from_params(params)
    order = np.argsort(read.split, kind="stable")
    rows = np.concatenate([np.arange(read.num_steps)[read.rows(episode)] for episode in order])
    state = read.state[rows]
    frames = {name: np.array(values, np.float32) for name, values in found["frames"].items()}
    np.testing.assert_array_equal(frames["action"], read.action[rows])
    for name, kinds in {
        "state": ["joint_pos"], "environment_state": ["object_pos", "object_axis"],
        "velocity": ["joint_vel"], "ee_pose": ["ee_pose"],
    }.items():  # fmt: skip
        known = np.concatenate([layout.unpack(state, kind) for kind in kinds], axis=1)
        np.testing.assert_array_equal(frames[f"observation.{name}"], known)
    second = read.action[read.rows(order[1])]
    np.testing.assert_array_equal(np.array(found["window"], np.float32), second[:2])


@pytest.mark.slow
def test_lerobot_trains_on_it(lerobot, tmp_path, params, arranged):
    convert.run(params, tmp_path / "set", "lerobot", arranged)
    options = {
        "dataset.repo_id": "local/pen", "dataset.root": tmp_path / "set",
        "policy.type": "diffusion", "policy.device": "cpu", "policy.push_to_hub": "false",
        "policy.horizon": 16, "policy.n_action_steps": 8, "policy.down_dims": "[32,64]",
        "policy.optimizer_lr": 1e-3, "policy.scheduler_warmup_steps": 0, "seed": 0, "steps": 60,
        "batch_size": 32, "log_freq": 1, "num_workers": 0, "save_checkpoint": "false",
        "wandb.enable": "false", "output_dir": tmp_path / "out",
    }  # fmt: skip
    command = [lerobot / "lerobot-train", *(f"--{key}={value}" for key, value in options.items())]
    said, _ = call(command, tmp_path)
    losses = [float(loss) for loss in re.findall(r"loss:([\d.]+)", said)]
    assert len(losses) == 60 and np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:10])
