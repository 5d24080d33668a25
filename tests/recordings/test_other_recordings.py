"""Recordings that hold no motion of the arm are read through and reported with what they hold."""

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from pipeline.recordings.rosbag.reader import open_bag
from pipeline.recordings.sources import Broken, read_candidates

HUMBLE = get_typestore(Stores.ROS2_HUMBLE)
EVENT = "example_interfaces/srv/AddTwoInts_Event"
HUMBLE.register({EVENT: get_types_from_msg("int64 a\nint64 b\n", "a/msg/B")["a/msg/B"]})
NUMBER = 9


def text(store, index):
    return "std_msgs/msg/String", store.types["std_msgs/msg/String"](data=f"Hello World: {index}")


def image(store, index):
    return "sensor_msgs/msg/Image", store.types["sensor_msgs/msg/Image"](
        header=header(store, index), height=4, width=4, encoding="mono8", is_bigendian=0, step=4,
        data=np.full(16, index, np.uint8),
    )  # fmt: skip


def scan(store, index):
    return "sensor_msgs/msg/LaserScan", store.types["sensor_msgs/msg/LaserScan"](
        header=header(store, index), angle_min=0.0, angle_max=1.0, angle_increment=0.1,
        time_increment=0.0, scan_time=0.1, range_min=0.0, range_max=9.0,
        ranges=np.ones(10, np.float32), intensities=np.zeros(0, np.float32),
    )  # fmt: skip


def joints(store, index):
    names = [f"joint_{number}" for number in range(4)]
    return "sensor_msgs/msg/JointState", store.types["sensor_msgs/msg/JointState"](
        header=header(store, index), name=names, position=np.full(4, 0.1 * index),
        velocity=np.zeros(0), effort=np.zeros(0),
    )  # fmt: skip


def service(store, index):
    return EVENT, store.types[EVENT](a=index, b=2)


def header(store, index):
    extra = {"seq": index} if store is not HUMBLE else {}
    stamp = store.types["builtin_interfaces/msg/Time"](sec=index, nanosec=0)
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id="base", **extra)


def ros2(folder: Path, storage: StoragePlugin, makes, encoding: str = "cdr") -> Path:
    with Writer(folder / "bag", version=8, storage_plugin=storage) as writer:
        for number, make in enumerate(makes):
            connection = writer.add_connection(
                f"/topic_{number}", make(HUMBLE, 0)[0], typestore=HUMBLE,
                serialization_format=encoding,
            )  # fmt: skip
            for index in range(NUMBER):
                msgtype, message = make(HUMBLE, index)
                raw = HUMBLE.serialize_cdr(message, msgtype)
                writer.write(connection, index * 10**8 + number, raw)
    return folder / "bag"


def ros1(folder: Path, makes) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(folder / "recorded.bag") as writer:
        for number, make in enumerate(makes):
            msgtype = make(store, 0)[0]
            connection = writer.add_connection(f"/topic_{number}", msgtype, typestore=store)
            for index in range(NUMBER):
                raw = store.serialize_ros1(make(store, index)[1], msgtype)
                writer.write(connection, index * 10**8 + number, raw)
    return folder / "recorded.bag"


MAKERS = {
    "talker, sqlite3": lambda folder: ros2(folder, StoragePlugin.SQLITE3, [text]),
    "talker, mcap": lambda folder: ros2(folder, StoragePlugin.MCAP, [text]),
    "a camera and a talker": lambda folder: ros2(folder, StoragePlugin.MCAP, [image, text]),
    "calls of a service": lambda folder: ros2(folder, StoragePlugin.MCAP, [service]),
    "a laser, ROS 1": lambda folder: ros1(folder, [scan, image]),
    "a bare file": lambda folder: ros2(folder, StoragePlugin.MCAP, [text, scan]) / "bag.mcap",
}


@pytest.mark.parametrize("kind", MAKERS)
def test_recordings_without_the_arm_are_read_through(tmp_path, kind):
    with open_bag(MAKERS[kind](tmp_path)) as bag:
        keys = {topic.key for topic in bag.topics}
        assert [topic.messages for topic in bag.topics] == [NUMBER] * len(keys)
        times = [time_ns for _, time_ns, _ in bag.messages(keys)]
        assert times == sorted(times)
        assert len(times) == NUMBER * len(keys)


@pytest.mark.parametrize("kind", MAKERS)
def test_recordings_without_the_arm_are_reported_with_what_they_hold(tmp_path, params, kind):
    (item,) = read_candidates(MAKERS[kind](tmp_path), params)
    assert isinstance(item, Broken)
    assert item.code == "BAG_EMPTY"
    assert "it holds /topic_0 (" in item.value


def test_joints_of_another_arm_in_ros_1_are_reported_by_name(tmp_path, params):
    (item,) = read_candidates(ros1(tmp_path, [joints]), params)
    assert item.code == "JOINT_MISSING"
    assert item.value == (
        "/topic_0 names joint_0, joint_1, joint_2, joint_3: without joint_4, joint_5, joint_6"
    )


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_joints_in_another_serialisation_are_refused(tmp_path, params, storage):
    path = ros2(tmp_path, storage, [joints], encoding="wrong_rmw")
    (item,) = read_candidates(path, params)
    assert item.code == "TYPE_UNKNOWN"
    assert "is serialised as 'wrong_rmw', expected cdr" in item.value
