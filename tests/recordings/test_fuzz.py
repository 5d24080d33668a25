"""Damaged files of every kind end in results, without a crash, a hang, partial output or pickle.

The quick test damages each kind a few dozen times; `-m slow` a thousand times and more.
"""

import json
import pickle
import shutil
import signal
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.obstacles import box, cylinder
from pipeline.recordings.recording import Message
from pipeline.recordings.rosbag.decode import Decoder
from pipeline.recordings.rosbag.parsers import PARSERS
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.recordings.sources import describe_source
from pipeline.stages import ingest
from pipeline.validation.validate import validate_recording

# Far more than any of these small files needs; a hang shows as a failure, not as a timed test.
_HANG_S = 600
UP = np.array([0.0, 0.0, 0.0, 1.0])
OBSTACLES = np.stack([box([0.4, 0, 0.1], [0.1, 0.2, 0.3], UP), cylinder([0, 1, 0], 0.1, 0.2, UP)])
KINDS = ["mcap", "sqlite3", "npz", "json", "yaml", "zarr", "ros1"]


def motion():
    t = np.linspace(0.0, 1.2, 13)
    return t, (t / 3)[:, None] * np.ones(6), np.full((13, 6), 1 / 3)


def bag(path, joints, storage):
    t, position, velocity = motion()
    with BagWriter(path, storage) as writer:
        for index in range(3):
            time = (index + 1) * 10**9
            place = np.array([0.4, 0.01 * index, 0.2])
            writer.planning_scene(time, OBSTACLES[index:], "base_link")
            writer.object_pose(time, "base_link", place, UP)
            writer.plan(time, joints, t, position, velocity, velocity, position[0])
            writer.joint_state(time + 1, joints, position[0], velocity[0])
    return path


def make(kind, folder, params):
    """Write an undamaged recording of a kind; returns what to ingest and the files to damage."""
    joints = params.robot.joints
    t, position, velocity = motion()
    if kind in {"mcap", "sqlite3"}:
        path = bag(folder / "bag", joints, kind)
    elif kind == "npz":
        path = folder / "traj_1.npz"
        np.savez(path, joint_positions=position, joint_velocities=velocity, timestamps=t,
                 pen_position=np.ones(3), pen_axis=UP[1:], obstacles=OBSTACLES)  # fmt: skip
    elif kind in {"json", "yaml"}:
        points = [{"positions": row.tolist(), "time_from_start": float(at)}
                  for at, row in zip(t, position, strict=True)]  # fmt: skip
        path = folder / f"plan.{kind}"
        path.write_text(json.dumps({"joint_names": list(joints), "points": points,
                                    "pen_position": [1, 1, 1], "pen_axis": [0, 0, 1]}))  # fmt: skip
    elif kind == "zarr":
        path = replay(folder / "a.zarr", params, position)
    else:
        path = folder / "a.bag"
        ros1(path, joints, position)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return path, files


def replay(path, params, position):
    layout = Layout.from_params(params)
    group = zarr.open_group(path, mode="w", zarr_format=2)
    state = np.zeros((13, layout.state_dim), np.float32)
    state[:, :6], state[:, -1] = position, 1.0
    group.require_group("data").create_array("state", data=state)
    group["data"].create_array("action", data=position.astype(np.float32))
    group.require_group("meta").create_array("episode_ends", data=np.array([13]))
    group.attrs["rate_hz"] = 10.0
    return path


def ros1(path, joints, position):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    name = "sensor_msgs/msg/JointState"
    time = store.types["builtin_interfaces/msg/Time"]
    with Writer(path) as writer:
        connection = writer.add_connection("/joint_states", name, typestore=store)
        for index, row in enumerate(position):
            at = 10**9 + index * 10**8
            header = store.types["std_msgs/msg/Header"](
                seq=index, stamp=time(sec=at // 10**9, nanosec=at % 10**9), frame_id="",
            )  # fmt: skip
            message = store.types[name](header=header, name=list(joints), position=row,
                                        velocity=row, effort=row)  # fmt: skip
            writer.write(connection, at, store.serialize_ros1(message, name))


def damage(data, rng):
    """Flip, truncate, remove, repeat or overwrite some of the bytes."""
    data = bytearray(data)
    if not data:
        return b"\x00"
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data)))
        match rng.integers(5):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data = data[: max(1, at)]
            case 2:
                data[at : at + int(rng.integers(1, 64))] = b""
            case 3:
                data[at:at] = data[at : at + int(rng.integers(1, 64))]
            case 4:
                data[at : at + 8] = rng.choice([b"\xff" * 8, b"\x00" * 8, b"\xff" * 7 + b"\x7f"])
        if not data:
            return b""
    return bytes(data)


class Alarm:
    """Fails if reading a recording does not end."""

    def __enter__(self):
        def hang(*_):
            raise AssertionError(f"still busy after {_HANG_S} s")

        self.before = signal.signal(signal.SIGALRM, hang)
        signal.alarm(_HANG_S)

    def __exit__(self, *_):
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)


@pytest.fixture
def no_pickle(monkeypatch):
    """Any unpickling fails the test, in any library."""

    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)


def assault(kind, tmp_path, params, arm, rounds, salvage=False):
    """Damage a recording again and again; returns how many codes were seen."""
    sound = tmp_path / "sound"
    sound.mkdir()
    make(kind, sound, params)
    fixed = params.override("ingest", object_pose=(0.4, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0))
    seen = {}
    for seed in range(rounds):
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        folder = tmp_path / "hurt"
        shutil.copytree(sound, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        path = next(iter(folder.iterdir()))
        victim = files[rng.integers(len(files))]
        victim.write_bytes(damage(victim.read_bytes(), rng))
        with Alarm(), np.errstate(all="ignore"):
            source = describe_source(path, salvage=salvage)
            for result in chain.from_iterable(validate_recording(source, arm, fixed)):
                for code in {finding.code for finding in result.findings} or {"good"}:
                    seen[code] = seen.get(code, 0) + 1
        shutil.rmtree(folder)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_recordings_end_in_verdicts(kind, tmp_path, params, arm, no_pickle):
    seen = assault(kind, tmp_path, params, arm, 40)
    assert len(seen) > 1, "no damage was noticed"


def test_damaged_recordings_are_salvaged_without_a_crash(tmp_path, params, arm, no_pickle):
    assert "SALVAGED" in assault("mcap", tmp_path, params, arm, 40, salvage=True)


@pytest.mark.slow
@pytest.mark.parametrize("salvage", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_recordings_end_in_verdicts(kind, salvage, tmp_path, params, arm, no_pickle):
    assert len(assault(kind, tmp_path, params, arm, 1000, salvage)) > 1


@pytest.mark.parametrize("kind", ["mcap", "npz", "zarr"])
def test_a_damaged_recording_leaves_no_partial_output(kind, tmp_path, params):
    out = tmp_path / "out"
    sound = tmp_path / "sound"
    sound.mkdir()
    path, files = make(kind, sound, params)
    ingest.run(params, out, path)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    largest = max(files, key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    with pytest.raises(PipelineError, match="cannot be read"):
        ingest.run(params, out, path)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "sound"]


@settings(max_examples=300)
@given(msgtype=st.sampled_from(sorted(PARSERS)), raw=st.binary(max_size=400), head=st.booleans())
def test_any_bytes_are_a_message(msgtype, raw, head):
    event = Decoder("/topic", msgtype, None)(0, b"\x00\x01\x00\x00" + raw if head else raw)
    assert isinstance(event, Message)


@settings(max_examples=150)
@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["points", "joint_names", "positions", "velocities", "time_from_start",
                         "sec", "trajectory", "joint_trajectory", "pen_axis", "pen_position"]),
        inner, max_size=5),
    max_leaves=20,
))  # fmt: skip
def test_any_json_is_read_or_refused(tmp_path_factory, content):
    from pipeline.recordings.formats.json_yaml import JsonYamlError, read_json_yaml

    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        list(read_json_yaml(path, "pen", "base_link"))
    except JsonYamlError as error:
        assert Path(path).name in str(error)
