"""Of a truncated MCAP file, the messages before its end are read."""

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from pipeline.recordings.rosbag.messages import JOINT_STATE, JointStateSerializer, typestore
from pipeline.recordings.rosbag.reader import open_bag
from pipeline.recordings.rosbag.recovery import RecoveredMcap

NAMES = ["a", "b"]


def record(path, number=15_000, swap=False, compressed=False):
    """Enough joint states for several chunks."""
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    if compressed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    serialize = JointStateSerializer(NAMES)
    with writer:
        connection = writer.add_connection("/joint_states", JOINT_STATE, typestore=typestore())
        for index in range(number):
            late = index ^ 1 if swap else index
            writer.write(
                connection, late * 1000,
                serialize(late * 1000, np.array([late, 0.0]), np.zeros(2)),
            )  # fmt: skip
    return path / f"{path.name}.mcap"


def times(bag):
    return [time_ns for _, time_ns, _ in bag.messages({topic.key for topic in bag.topics})]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.999])
def test_a_file_cut_off_gives_its_messages_up_to_the_cut(tmp_path, keep, compressed):
    file = record(tmp_path / "bag", compressed=compressed)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    bag = RecoveredMcap(file)
    (topic,) = bag.topics
    read = times(bag)
    assert read == [index * 1000 for index in range(len(read))]
    assert topic.messages == len(read)
    assert 0.7 * keep < len(read) / 15_000 <= 1.0
    assert bag.fault
    assert bag.duration_s == pytest.approx((len(read) - 1) * 1e-6)
    assert topic.definition.data


def test_messages_slightly_out_of_order_are_sorted(tmp_path):
    bag = RecoveredMcap(record(tmp_path / "bag", 3000, swap=True))
    assert times(bag) == [index * 1000 for index in range(3000)]
    assert bag.fault == ""


def test_a_whole_file_reads_as_the_library_reads_it(tmp_path):
    file = record(tmp_path / "bag", 500)
    with open_bag(file) as bag:
        expected = list(bag.messages({topic.key for topic in bag.topics}))
    salvaged = RecoveredMcap(file)
    assert list(salvaged.messages({topic.key for topic in salvaged.topics})) == expected


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"no mcap at all", b"\x00" * 500])
def test_a_file_without_readable_records_is_empty(tmp_path, content):
    file = tmp_path / "bag.mcap"
    file.write_bytes(content)
    bag = RecoveredMcap(file)
    assert bag.topics == ()
    assert times(bag) == []
    assert bag.fault


def test_a_damaged_length_allocates_no_memory(tmp_path):
    file = record(tmp_path / "bag", 500)
    data = bytearray(file.read_bytes())
    data[9:17] = b"\xff" * 7 + b"\x7f"
    file.write_bytes(data)
    assert RecoveredMcap(file).topics == ()


def test_a_chunk_with_changed_bytes_is_not_read(tmp_path):
    file = record(tmp_path / "bag", compressed=True)
    data = bytearray(file.read_bytes())
    data[5000:7000] = bytes(2000)
    file.write_bytes(data)
    bag = RecoveredMcap(file)
    read = times(bag)
    assert read == [index * 1000 for index in range(len(read))]
    assert len(read) < 15_000
    assert bag.fault
