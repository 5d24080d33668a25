"""Bags of every storage and compression are read alike, and damage is reported."""

import gc
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from backports import zstd
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from pipeline.recordings.recording import JointSample, ObjectPose, Plan, Unreadable
from pipeline.recordings.rosbag.files import BagError, storage_of
from pipeline.recordings.rosbag.messages import JOINT_STATE, JointStateSerializer, typestore
from pipeline.recordings.rosbag.reader import is_whole, open_bag, summarize

from .ros_messages import record

STORAGES = ["mcap", "sqlite3"]
SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("prefix", ["", "/robot/left"])
def test_messages_come_in_order_with_all_their_numbers(read_all, tmp_path, storage, prefix):
    messages = read_all(record(tmp_path / "bag", storage, prefix=prefix))
    kinds = [ObjectPose, Plan, *([JointSample] * 4)] * 3
    assert [type(message) for message in messages] == kinds
    pose, plan, joints = messages[6:9]
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
def test_a_bare_file_reads_as_its_folder(read_all, tmp_path, storage):
    folder = record(tmp_path / "bag", storage)
    (file,) = (path for path in folder.iterdir() if path.suffix in {".mcap", ".db3"})
    times = [message.log_time_ns for message in read_all(folder)]
    assert [message.log_time_ns for message in read_all(file)] == times
    assert storage_of(file) == storage_of(folder) == storage


def test_a_bag_without_definitions_is_read_by_the_bundled_ones(read_all, edit_bag, tmp_path):
    folder = record(tmp_path / "bag", "sqlite3")
    edit_bag(folder, "DELETE FROM message_definitions")
    assert sum(isinstance(message, Plan) for message in read_all(folder)) == 3


def test_a_definition_that_cannot_be_parsed_is_replaced_by_a_bundled_one(
    read_all, edit_bag, tmp_path
):
    folder = record(tmp_path / "bag", "sqlite3")
    edit_bag(folder, "UPDATE message_definitions SET encoded_message_definition = '][ what'")
    assert sum(isinstance(message, Plan) for message in read_all(folder)) == 3


def test_a_message_that_cannot_be_decoded_is_unreadable(read_all, edit_bag, tmp_path):
    folder = record(tmp_path / "bag", "sqlite3")
    edit_bag(
        folder,
        "UPDATE messages SET data = substr(data, 1, 90) WHERE id = "
        "(SELECT min(m.id) FROM messages m JOIN topics t ON m.topic_id = t.id "
        "WHERE t.name = '/display_planned_path')",
    )
    messages = read_all(folder)
    (bad,) = (message for message in messages if isinstance(message, Unreadable))
    assert (bad.code, bad.message, bad.topic) == ("DECODE_ERROR", 0, "/display_planned_path")
    assert [message.message for message in messages if isinstance(message, Plan)] == [1, 2]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.97])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_cut_off_is_refused_as_such(read_all, tmp_path, storage, keep):
    folder = record(tmp_path / "bag", storage, plans=200)
    (file,) = (path for path in folder.iterdir() if path.suffix in {".mcap", ".db3"})
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BagError, match="cut off or damaged") as raised:
        read_all(folder)
    assert raised.value.code == "BAG_TRUNCATED"
    assert str(folder) in str(raised.value)


def test_a_missing_bag_is_refused(read_all, tmp_path):
    with pytest.raises(BagError, match="no such recording"):
        read_all(tmp_path / "nothing")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_compressed_as_a_whole_is_unpacked(read_all, tmp_path, storage):
    folder = record(tmp_path / "bag", storage)
    (file,) = (path for path in folder.iterdir() if path.suffix in {".mcap", ".db3"})
    packed = file.with_name(file.name + ".zstd")
    packed.write_bytes(zstd.compress(file.read_bytes()))
    file.unlink()
    assert len(read_all(folder)) == len(read_all(packed)) == 18
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(BagError, match="cut off or damaged"):
        read_all(folder)


def test_a_compressed_file_that_holds_no_recording_is_refused_before_it_fills_the_disk(tmp_path):
    packed = tmp_path / "bag.mcap.zstd"
    packed.write_bytes(zstd.compress(bytes(2**28), 19))
    with (
        pytest.raises(BagError, match=r"bag\.mcap\.zstd: .*unpacks to more than 67108864 bytes"),
        open_bag(packed),
    ):
        pass


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
@pytest.mark.parametrize("keep_metadata", [True, False])
def test_every_compression_is_read_with_or_without_metadata(
    read_all, tmp_path, storage, mode, keep_metadata
):
    plain = record(tmp_path / "plain", "mcap")
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with Reader(plain) as reader, writer:
        store = typestore()
        connections = {
            each.id: writer.add_connection(each.topic, each.msgtype, typestore=store)
            for each in reader.connections
        }
        for connection, time_ns, raw in reader.messages():
            writer.write(connections[connection.id], time_ns, raw)
    if not keep_metadata:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    assert [type(message) for message in read_all(tmp_path / "bag")] == [
        type(message) for message in read_all(plain)
    ]


def test_the_write_ahead_log_of_a_killed_recorder_is_read(read_all, tmp_path):
    folder = record(tmp_path / "bag", "sqlite3")
    file = folder / "bag.db3"
    killed = tmp_path / "killed"
    killed.mkdir()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("INSERT INTO messages SELECT NULL, topic_id, timestamp + 1, data "
                       "FROM messages WHERE id = 1")  # fmt: skip
    connection.commit()
    for path in folder.glob("bag.db3*"):  # as it lies on the disk while it is being written
        shutil.copy(path, killed / path.name)
    connection.close()
    before = sorted(path.name for path in killed.iterdir())
    assert len(read_all(killed / "bag.db3")) == 19
    assert sorted(path.name for path in killed.iterdir()) == before


def test_a_write_ahead_log_beside_what_is_no_database_leaves_nothing_open(read_all, tmp_path):
    file = tmp_path / "bag.db3"
    file.write_bytes(b"no database" * 400)
    file.with_name("bag.db3-wal").write_bytes(b"no log")
    with pytest.raises(BagError, match="cut off or damaged"):
        read_all(file)
    gc.collect()  # from Python 3.13 on an open connection warns, and warnings are errors


@pytest.mark.parametrize("storage", STORAGES)
def test_a_summary_counts_topics(tmp_path, storage):
    with open_bag(record(tmp_path / "bag", storage)) as bag:
        assert bag.storage == storage
        assert [(t.topic, t.messages) for t in summarize(bag)] == [
            ("/display_planned_path", 3),
            ("/joint_states", 12),
            ("/pen_pose", 3),
        ]
        np.testing.assert_allclose(bag.duration_s, 2.0, atol=1e-6)


def test_a_bag_is_whole_only_if_all_of_it_can_be_read(tmp_path):
    folder = record(tmp_path / "bag", "mcap", plans=200)
    assert is_whole(folder)
    file = folder / "bag.mcap"
    file.write_bytes(file.read_bytes()[:-300])
    assert not is_whole(folder)


BAGS = [
    *sorted(path for suffix in ("mcap", "db3") for path in SHARED.rglob(f"*.{suffix}")),
    *sorted({path.parent for path in SHARED.rglob("metadata.yaml")}),
]


@pytest.mark.skipif(not SHARED.is_dir(), reason="recordings of other projects are not at hand")
@pytest.mark.parametrize("path", BAGS, ids=lambda path: str(path.relative_to(SHARED)))
def test_recordings_of_ros_itself_are_opened_and_summarised(path):
    with open_bag(path) as bag:
        assert sum(topic.messages for topic in bag.topics) > 0
        assert sum(1 for _ in bag.messages({topic.key for topic in bag.topics})) == sum(
            topic.messages for topic in bag.topics
        )


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 0, 3, 2]])
@pytest.mark.parametrize(
    "options",
    [
        {"use_chunking": False},
        {"index_types": IndexType.NONE},
        {"use_chunking": False, "index_types": IndexType.NONE, "use_statistics": False,
         "use_summary_offsets": False, "repeat_schemas": False, "repeat_channels": False},
        {"compression": CompressionType.LZ4},
    ],
)  # fmt: skip
def test_an_mcap_without_chunks_or_index_is_read_in_order(read_all, tmp_path, options, order):
    text = typestore().generate_msgdef(JOINT_STATE)[0].encode()
    serialize = JointStateSerializer(["a"])
    with (tmp_path / "bag.mcap").open("wb") as stream:
        writer = McapWriter(stream, **options)
        writer.start(profile="ros2")
        schema = writer.register_schema(JOINT_STATE, "ros2msg", text)
        channel = writer.register_channel("/joint_states", "cdr", schema)
        for time in order:
            raw = serialize(time, np.zeros(1), np.zeros(1))
            writer.add_message(channel, time, raw, time)
        writer.finish()
    assert [message.log_time_ns for message in read_all(tmp_path / "bag.mcap")] == [0, 1, 2, 3]
