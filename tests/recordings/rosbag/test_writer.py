"""A recording is a rosbag2 that any reader opens, and the same calls give the same bytes."""

import numpy as np
import pytest
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.metadata import parse_qos
from ruamel.yaml import YAML

from pipeline.obstacles import sphere
from pipeline.recordings.rosbag.messages import PLANNING_SCENE, typestore
from pipeline.recordings.rosbag.writer import BagWriteError, BagWriter

NAMES = ["joint_1", "joint_2"]
STORAGES = ["mcap", "sqlite3"]


def record(path, storage):
    position = np.array([[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]])
    with BagWriter(path, storage) as bag:
        bag.object_pose(10, "base_link", np.array([0.4, 0.0, 0.2]), np.array([0.0, 0.0, 0.0, 1.0]))
        bag.plan(20, NAMES, np.array([0.0, 0.1, 0.2]), position, position, position, position[0])
        for index in range(4):
            bag.joint_state(30 + index, NAMES, position[0], position[1])


@pytest.mark.parametrize("storage", STORAGES)
def test_a_recording_has_its_topics_types_definitions_and_times(tmp_path, storage):
    record(tmp_path / "bag", storage)
    with Reader(tmp_path / "bag") as reader:
        counts = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
        assert counts == {
            "/pen_pose": ("geometry_msgs/msg/PoseStamped", 1),
            "/display_planned_path": ("moveit_msgs/msg/DisplayTrajectory", 1),
            "/joint_states": ("sensor_msgs/msg/JointState", 4),
        }
        assert all(c.msgdef.data for c in reader.connections)
        assert all(c.digest.startswith("RIHS01_") for c in reader.connections if c.digest)
        assert [time for _, time, _ in reader.messages()] == [10, 20, 30, 31, 32, 33]


@pytest.mark.parametrize("storage", STORAGES)
def test_metadata_names_the_storage_the_file_and_the_quality_of_service(tmp_path, storage):
    record(tmp_path / "bag", storage)
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    information = YAML(typ="safe").load(text)["rosbag2_bagfile_information"]
    assert information["storage_identifier"] == storage
    assert information["message_count"] == 6
    assert (tmp_path / "bag" / information["relative_file_paths"][0]).is_file()
    for topic in information["topics_with_message_count"]:
        profile = topic["topic_metadata"]["offered_qos_profiles"]
        assert isinstance(profile, str)  # the form that Humble reads
        (qos,) = parse_qos(profile)
        assert (qos.reliability.name, qos.durability.name) == ("RELIABLE", "VOLATILE")


@pytest.mark.parametrize("storage", STORAGES)
def test_the_same_calls_give_the_same_bytes(tmp_path, storage):
    for name in ("one", "two"):
        record(tmp_path / name / "bag", storage)
    files = sorted(path.name for path in (tmp_path / "one" / "bag").iterdir())
    assert len(files) == 2
    for name in files:
        one, two = ((tmp_path / run / "bag" / name).read_bytes() for run in ("one", "two"))
        assert one == two


@pytest.mark.parametrize("storage", STORAGES)
def test_obstacles_replace_those_before(tmp_path, storage):
    rows = np.stack([sphere([index, 0, 0], 0.1) for index in range(3)])
    with BagWriter(tmp_path / "bag", storage) as bag:
        for index, number in enumerate((0, 3, 1, 0, 0, 2)):
            bag.planning_scene(index, rows[:number], "base_link")
    with Reader(tmp_path / "bag") as reader:
        (connection,) = reader.connections
        assert (connection.topic, connection.msgtype) == ("/planning_scene", PLANNING_SCENE)
        assert connection.msgdef.data
        said = [
            (time_ns, [(item.id[-1], item.operation) for item in scene.world.collision_objects])
            for _, time_ns, raw in reader.messages()
            for scene in [typestore().deserialize_cdr(raw, PLANNING_SCENE)]
        ]
    assert said == [
        (1, [("1", 0), ("2", 0), ("3", 0)]),
        (2, [("1", 0), ("2", 1), ("3", 1)]),
        (3, [("1", 1)]),
        (5, [("1", 0), ("2", 0)]),
    ]


def test_an_existing_path_is_refused(tmp_path):
    with pytest.raises(BagWriteError, match="exists already"):
        BagWriter(tmp_path, "mcap")


def test_a_topic_carries_one_type(tmp_path):
    with (
        pytest.raises(BagWriteError, match="carries sensor_msgs/msg/JointState"),
        BagWriter(tmp_path / "bag", "mcap") as bag,
    ):
        bag.joint_state(0, NAMES, np.zeros(2), np.zeros(2), topic="/x")
        bag.object_pose(0, "base_link", np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), topic="/x")
    assert not (tmp_path / "bag" / "metadata.yaml").exists()
