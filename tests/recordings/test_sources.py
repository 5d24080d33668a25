"""Recordings are found in any folder, and a damaged one gives its motions before the damage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.recordings.recording import Candidate
from pipeline.recordings.rosbag.messages import JOINT_STATE, POSE_STAMPED, typestore
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.recordings.sources import (
    Broken,
    SourceError,
    count_plans,
    describe_source,
    find_recordings,
    kind_of,
    read_candidates,
)

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))


def bag(path, storage="mcap", plans=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    position = np.linspace(0, 0.3, 4)[:, None] * np.ones(6)
    with BagWriter(path, storage) as writer:
        for index in range(plans):
            time = (index + 1) * 10**9
            writer.object_pose(time, "base_link", np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]))
            writer.plan(time, JOINTS, np.arange(4) * 0.1, position, position, position, position[0])
        writer.joint_state(time + 1, JOINTS, position[0], position[0])
    return path


def trajectory(path):
    np.savez(
        path,
        joint_positions=np.linspace(0, 0.3, 4)[:, None] * np.ones(6),
        timestamps=np.arange(4) * 0.1,
        pen_position=np.ones(3),
        pen_axis=np.array([0.0, 0.0, 1.0]),
    )
    return path


def test_a_folder_is_searched_for_every_kind(tmp_path):
    expected = [bag(tmp_path / "a" / "day_1"), bag(tmp_path / "a" / "day_2", "sqlite3")]
    bare = bag(tmp_path / "b" / "day_3")
    (bare / "metadata.yaml").unlink()
    expected += [bare / "day_3.mcap", trajectory(tmp_path / "traj_0007.npz")]
    (tmp_path / "notes.txt").write_text("x")
    np.savez(tmp_path / "other.npz", x=np.ones(1))
    assert find_recordings(tmp_path) == expected
    assert find_recordings(expected[0]) == [expected[0]]
    assert find_recordings(tmp_path / "other.npz") == [tmp_path / "other.npz"]
    assert [count_plans(path) for path in expected] == [2, 2, 2, 1]


def test_a_split_recording_is_one_however_its_folder_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "long"
    folder.mkdir()
    for name in ("long_0", "long_1"):
        bag(tmp_path / name)
        (tmp_path / name / f"{name}.mcap").rename(folder / f"{name}.mcap")
        shutil.rmtree(tmp_path / name)
    (tmp_path / "latest").symlink_to(folder)
    assert find_recordings(tmp_path / "latest") == [tmp_path / "latest"]
    monkeypatch.chdir(folder)
    assert find_recordings(Path()) == [Path()]
    assert find_recordings(Path("../long")) == [Path("../long")]
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")
    assert find_recordings(Path("..")) == [Path("..")]


def test_where_there_is_no_recording_the_error_says_what_was_expected(tmp_path):
    with pytest.raises(SourceError, match=r"expected a rosbag2 folder.*or run collect"):
        find_recordings(tmp_path / "nothing")
    with pytest.raises(SourceError, match=r"holds no recording; expected"):
        find_recordings(tmp_path)
    (tmp_path / "x.txt").touch()
    with pytest.raises(SourceError, match="unknown kind of file"):
        find_recordings(tmp_path / "x.txt")


def test_a_source_s_hash_is_that_of_its_bytes(tmp_path):
    one, two = bag(tmp_path / "one" / "bag"), bag(tmp_path / "two" / "bag")
    assert describe_source(one).sha256 == describe_source(two).sha256
    assert describe_source(one).storage == "mcap"
    bag(tmp_path / "three" / "bag", plans=3)
    assert describe_source(tmp_path / "three" / "bag").sha256 != describe_source(one).sha256
    assert describe_source(trajectory(tmp_path / "traj_1.npz")).storage == "npz"
    assert describe_source(one / "bag.mcap").storage == "mcap"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_gives_its_plans(tmp_path, params, storage):
    items = list(read_candidates(bag(tmp_path / "bag", storage), params))
    assert [item.plan.message for item in items] == [0, 1]
    assert items[0].object_pose is not None
    assert items[1].execution is not None


def test_a_trajectory_file_gives_one(tmp_path, params):
    (item,) = read_candidates(trajectory(tmp_path / "traj_1.npz"), params)
    assert isinstance(item, Candidate)
    assert item.object_pose.frame_id == params.ingest.object_frames[0]


def test_damaged_recordings_are_reported(tmp_path, params):
    cut = bag(tmp_path / "bag") / "bag.mcap"
    cut.write_bytes(cut.read_bytes()[:-100])
    (tmp_path / "traj_1.npz").write_bytes(b"PK\x03\x04 no")
    for path, code in ((tmp_path / "bag", "BAG_TRUNCATED"), (tmp_path / "traj_1.npz", "NPZ_UN")):
        (item,) = read_candidates(path, params)
        assert isinstance(item, Broken)
        assert item.code.startswith(code)
        assert str(path) in item.value
    assert count_plans(tmp_path / "bag") == 0


def test_a_list_of_sources_is_read_in_its_order_and_each_once(tmp_path):
    one, two = bag(tmp_path / "b"), bag(tmp_path / "a")
    assert find_recordings([one, two, tmp_path]) == [one, two]
    with pytest.raises(SourceError, match="names nothing"):
        find_recordings([])


def test_a_folder_is_searched_for_recordings_of_other_tools(tmp_path, params):
    (tmp_path / "plan.json").write_text('{"joint_names": []}')
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "old.zarr").mkdir()
    (tmp_path / "old.zarr" / ".zgroup").touch()
    (tmp_path / "lerobot" / "meta").mkdir(parents=True)
    (tmp_path / "lerobot" / "meta" / "info.json").write_text("{}")
    (tmp_path / "ros1.bag").touch()
    (tmp_path / "numbered").mkdir()
    for name in ("run_1.mcap", "run_2.mcap"):
        (tmp_path / "numbered" / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    for name in ("long_0", "long_1", "long_10"):
        bag(tmp_path / name)
        (tmp_path / "long").mkdir(exist_ok=True)
        (tmp_path / name / f"{name}.mcap").rename(tmp_path / "long" / f"{name}.mcap")
        shutil.rmtree(tmp_path / name)
    names = ["lerobot", "long", "numbered/run_1.mcap", "numbered/run_2.mcap", "old.zarr",
             "plan.json", "ros1.bag"]  # fmt: skip
    assert find_recordings(tmp_path) == [tmp_path / name for name in names]
    assert [kind_of(tmp_path / name) for name in names] == [
        "lerobot", "bag", "bag", "bag", "zarr", "dump", "bag",
    ]  # fmt: skip
    assert [message.plan.message for message in read_candidates(tmp_path / "long", params)] == [
        0, 1, 2, 3, 4, 5,
    ]  # fmt: skip


def test_a_fixed_pose_is_used_where_no_pose_was_recorded(tmp_path, params):
    path = tmp_path / "plan.json"
    points = [{"positions": [0.1 * i] * 6, "time_from_start": i} for i in range(4)]
    path.write_text(json.dumps({"joint_names": JOINTS, "points": points}))
    (item,) = read_candidates(path, params)
    assert item.object_pose is None
    fixed = params.override("ingest", object_pose=(0.4, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0))
    (item,) = read_candidates(path, fixed)
    assert item.object_pose.ageless
    np.testing.assert_array_equal(item.object_pose.position, [0.4, 0.0, 0.2])
    assert item.derived == ("object pose from ingest.object_pose",)


def test_a_damaged_bag_is_marked_only_if_it_is_salvaged(tmp_path):
    file = bag(tmp_path / "bag") / "bag.mcap"
    file.write_bytes(file.read_bytes()[:-100])
    assert not describe_source(file).salvaged
    assert describe_source(file, salvage=True).salvaged
    assert not describe_source(bag(tmp_path / "other"), salvage=True).salvaged


def test_joint_states_alone_are_segmented_into_motions(tmp_path, params):
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        for index in range(20):
            time = (100 * (index >= 10) + index) * 10**8
            writer.joint_state(time, JOINTS, np.full(6, index * 0.1), np.zeros(6))
    first, second = read_candidates(tmp_path / "bag", params)
    assert [len(each.plan.segments[0].t) for each in (first, second)] == [10, 10]
    (broken,) = read_candidates(tmp_path / "bag", params.override("ingest", episodes_from="plans"))
    assert broken.code == "BAG_EMPTY"


def stamped(seconds, frame):
    types = typestore().types
    stamp = types["builtin_interfaces/msg/Time"](sec=int(seconds), nanosec=0)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def static_camera(seconds):
    """A camera 1 m above the base, on /tf_static."""
    types = typestore().types
    transform = types["geometry_msgs/msg/TransformStamped"](
        header=stamped(seconds, "base_link"), child_frame_id="camera",
        transform=types["geometry_msgs/msg/Transform"](
            translation=types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=1.0),
            rotation=types["geometry_msgs/msg/Quaternion"](x=1.0, y=0.0, z=0.0, w=0.0),
        ),
    )  # fmt: skip
    message = types["tf2_msgs/msg/TFMessage"](transforms=[transform])
    return "/tf_static", "tf2_msgs/msg/TFMessage", int(seconds * 1e9), message


def camera_pose(seconds):
    types = typestore().types
    pose = types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](x=0.4, y=0.0, z=0.8),
        orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
    )
    message = types[POSE_STAMPED](header=stamped(seconds, "camera"), pose=pose)
    return "/pen_pose", POSE_STAMPED, int(seconds * 1e9), message


def joint_states(start_s, number=10):
    types = typestore().types
    return [
        ("/joint_states", JOINT_STATE, int((start_s + index * 0.1) * 1e9), types[JOINT_STATE](
            header=stamped(0, ""), name=list(JOINTS), position=np.full(6, index * 0.1),
            velocity=np.zeros(0), effort=np.zeros(0),
        ))
        for index in range(number)
    ]  # fmt: skip


def test_a_pose_published_once_before_the_static_transforms_is_used(write_bag, params):
    rows = [camera_pose(1), *joint_states(1.5), static_camera(30), *joint_states(31)]
    for item in read_candidates(write_bag(rows, typestore()), params):
        assert item.object_pose.frame_id == "base_link"
        np.testing.assert_allclose(item.object_pose.position, [0.4, 0.0, 0.2], atol=1e-9)


def test_motion_before_the_first_start_mark_is_left_out(write_bag, params):
    types = typestore().types
    marks = [
        (
            "/episode_mark",
            "std_msgs/msg/Bool",
            int(at * 1e9),
            types["std_msgs/msg/Bool"](data=value),
        )
        for at, value in ((20, True), (22, False))
    ]
    rows = [*joint_states(1), marks[0], *joint_states(20.5), marks[1], *joint_states(30)]
    (item,) = read_candidates(write_bag(rows, typestore()), params)
    assert item.plan.log_time_ns == int(20.5e9)
    assert len(item.plan.segments[0].t) == 10
