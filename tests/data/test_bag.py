"""Bags of both storages are read alike, and what cannot be read is said, not lost."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from pipeline.data.bag import BagError, Topics, read_events, storage_of, summarize_bag
from pipeline.data.bag_writer import BagWriter
from pipeline.data.recording import JointSample, ObjectPose, Plan, Unreadable

NAMES = ["joint_1", "joint_2"]
TOPICS = Topics("display_planned_path", "joint_states", "pen_pose")
STORAGES = ["mcap", "sqlite3"]
SHARED = Path(__file__).parents[3] / "shared" / "data"


def record(path, storage, plans=3, prefix=""):
    position = np.array([[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]])
    with BagWriter(path, storage) as bag:
        for index in range(plans):
            base = (index + 1) * 10**9
            bag.object_pose(
                base, "base_link", np.array([0.4, index, 0.2]), np.array([0.0, 0, 0, 1]),
                topic=f"{prefix}/pen_pose",
            )  # fmt: skip
            bag.plan(
                base + 1, NAMES, np.array([0.0, 0.1, 0.2]), position, position * 2, position * 3,
                position[0], topic=f"{prefix}/display_planned_path",
            )  # fmt: skip
            for sample in range(4):
                bag.joint_state(
                    base + 2 + sample, NAMES, position[0], position[1], f"{prefix}/joint_states"
                )
    return path


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("prefix", ["", "/robot/left"])
def test_events_come_in_order_with_all_their_numbers(tmp_path, storage, prefix):
    events = list(read_events(record(tmp_path / "bag", storage, prefix=prefix), TOPICS))
    kinds = [ObjectPose, Plan, *([JointSample] * 4)] * 3
    assert [type(event) for event in events] == kinds
    pose, plan, joints = events[6:9]
    assert (pose.frame_id, pose.position.tolist()) == ("base_link", [0.4, 1.0, 0.2])
    assert (plan.message, plan.log_time_ns, plan.topic) == (
        1, 2 * 10**9 + 1, f"{prefix}/display_planned_path",
    )  # fmt: skip
    (segment,) = plan.segments
    np.testing.assert_allclose(segment.t, [0, 0.1, 0.2])
    np.testing.assert_array_equal(segment.joint_pos, [[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]])
    np.testing.assert_array_equal(segment.joint_vel, segment.joint_pos * 2)
    assert joints.joint_names == ("joint_1", "joint_2")
    np.testing.assert_array_equal(joints.joint_vel, [0.2, 0.3])


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bare_file_reads_as_its_folder(tmp_path, storage):
    folder = record(tmp_path / "bag", storage)
    (file,) = (path for path in folder.iterdir() if path.suffix in {".mcap", ".db3"})
    times = [event.log_time_ns for event in read_events(folder, TOPICS)]
    assert [event.log_time_ns for event in read_events(file, TOPICS)] == times
    assert storage_of(file) == storage_of(folder) == storage


def test_a_bag_without_definitions_is_read_by_the_bundled_ones(tmp_path):
    folder = record(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(folder / "bag.db3") as database:
        database.execute("DELETE FROM message_definitions")
    assert sum(isinstance(event, Plan) for event in read_events(folder, TOPICS)) == 3


def test_a_definition_that_nobody_can_parse_does_not_lose_the_bag(tmp_path):
    folder = record(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(folder / "bag.db3") as database:
        database.execute("UPDATE message_definitions SET encoded_message_definition = '][ what'")
    assert sum(isinstance(event, Plan) for event in read_events(folder, TOPICS)) == 3


def test_a_message_that_cannot_be_decoded_goes_on_as_unreadable(tmp_path):
    folder = record(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(folder / "bag.db3") as database:
        database.execute(
            "UPDATE messages SET data = substr(data, 1, 90) WHERE id = "
            "(SELECT min(m.id) FROM messages m JOIN topics t ON m.topic_id = t.id "
            "WHERE t.name = '/display_planned_path')"
        )
    events = list(read_events(folder, TOPICS))
    (bad,) = (event for event in events if isinstance(event, Unreadable))
    assert (bad.code, bad.message, bad.topic) == ("DECODE_ERROR", 0, "/display_planned_path")
    assert [event.message for event in events if isinstance(event, Plan)] == [1, 2]


def test_a_topic_of_another_type_is_named(tmp_path):
    store = get_typestore(Stores.ROS2_HUMBLE)
    folder = record(tmp_path / "bag", "mcap")
    with Writer(tmp_path / "other", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/pen_pose", "std_msgs/msg/String", typestore=store)
        message = store.types["std_msgs/msg/String"](data="here")
        raw = store.serialize_cdr(message, "std_msgs/msg/String")
        writer.write(connection, 1, raw)
    stream = read_events(tmp_path / "other", TOPICS)
    unknown = next(stream)
    assert unknown.code == "TYPE_UNKNOWN"
    assert "std_msgs/msg/String, expected geometry_msgs/msg/PoseStamped" in unknown.value
    with pytest.raises(BagError, match="no message of moveit_msgs/msg/DisplayTrajectory"):
        next(stream)
    assert folder.exists()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_without_plans_names_what_it_holds(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage) as bag:
        bag.joint_state(0, NAMES, np.zeros(2), np.zeros(2), topic="/arm/joint_states")
    with pytest.raises(BagError, match="it holds /arm/joint_states") as raised:
        list(read_events(tmp_path / "bag", TOPICS))
    assert raised.value.code == "BAG_EMPTY"


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.97])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_cut_off_is_refused_as_such(tmp_path, storage, keep):
    folder = record(tmp_path / "bag", storage, plans=200)
    (file,) = (path for path in folder.iterdir() if path.suffix in {".mcap", ".db3"})
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BagError, match="cut off or damaged") as raised:
        list(read_events(folder, TOPICS))
    assert raised.value.code == "BAG_TRUNCATED"
    assert str(folder) in str(raised.value)


def test_a_missing_bag_and_one_whose_metadata_is_nonsense_are_refused(tmp_path):
    with pytest.raises(BagError, match="no such recording"):
        list(read_events(tmp_path / "nothing", TOPICS))
    folder = record(tmp_path / "bag", "mcap")
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: 7\n")
    with pytest.raises(BagError, match="cannot be read"):
        list(read_events(folder, TOPICS))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_summary_counts_topics(tmp_path, storage):
    summary = summarize_bag(record(tmp_path / "bag", storage))
    assert summary.storage == storage
    assert [(t.topic, t.messages) for t in summary.topics] == [
        ("/display_planned_path", 3),
        ("/joint_states", 12),
        ("/pen_pose", 3),
    ]
    np.testing.assert_allclose(summary.duration_s, 2.0, atol=1e-6)


@pytest.mark.skipif(not SHARED.is_dir(), reason="recordings of other projects are not at hand")
@pytest.mark.parametrize(
    "name",
    [
        "plotjuggler/datasamples/rosbag2_test",
        "rosbag2_testbags/rosbag2_py/test/resources/mcap/wbag",
    ],
)
def test_recordings_of_ros_itself_are_summarised(tmp_path, name):
    shutil.copytree(SHARED / name, tmp_path / "bag")
    assert summarize_bag(tmp_path / "bag").topics
