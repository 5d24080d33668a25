"""Messages are decoded directly or by the library, with the definition that fits."""

import tracemalloc

import numpy as np
import pytest
from backports import zstd
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from pipeline.recordings.recording import (
    JointSample,
    ObjectPose,
    Plan,
    TrackingSample,
    Unreadable,
)
from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.rosbag.compression import MAX_BYTES
from pipeline.recordings.rosbag.decode import Decoder, embedded_store
from pipeline.recordings.rosbag.definitions import bundled_stores

from .ros_messages import NAMES, POSITION, Make, decode


def test_an_attached_object_of_foxy_and_of_humble_is_read():
    for store in bundled_stores(m.DISPLAY_TRAJECTORY):
        make = Make(store)
        plan = display(make)
        assert isinstance(decode(store, m.DISPLAY_TRAJECTORY, plan), Plan)


def display(make):
    pose = make("geometry_msgs/msg/Pose",
                position=make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
                orientation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
                )  # fmt: skip
    solid = {"type": 1, "dimensions": np.ones(3)}
    if "polygon" in dict(make.store.fielddefs["shape_msgs/msg/SolidPrimitive"][1]):
        solid["polygon"] = make("geometry_msgs/msg/Polygon", points=[])
    item = make("moveit_msgs/msg/CollisionObject", header=make.header(), pose=pose, id="pen",
                type=make("object_recognition_msgs/msg/ObjectType", key="", db=""),
                primitives=[make("shape_msgs/msg/SolidPrimitive", **solid)], primitive_poses=[pose],
                meshes=[], mesh_poses=[], planes=[], plane_poses=[], subframe_names=[],
                subframe_poses=[], operation=0)  # fmt: skip
    attached = make("moveit_msgs/msg/AttachedCollisionObject", link_name="a", object=item,
                    touch_links=[], detach_posture=make.joint_trajectory(), weight=0.0)  # fmt: skip
    none = np.zeros(0)
    state = make("moveit_msgs/msg/RobotState",
                 joint_state=make(m.JOINT_STATE, header=make.header(), name=[], position=none,
                                  velocity=none, effort=none),
                 multi_dof_joint_state=make("sensor_msgs/msg/MultiDOFJointState",
                                            header=make.header(), joint_names=[], transforms=[],
                                            twist=[], wrench=[]),
                 attached_collision_objects=[attached], is_diff=False)  # fmt: skip
    return make(m.DISPLAY_TRAJECTORY, model_id="arm", trajectory=[make.robot_trajectory()],
                trajectory_start=state)  # fmt: skip


def test_a_joint_state_keeps_its_stamp_by_either_decoder():
    make = Make(m.typestore())
    message = make(m.JOINT_STATE, header=make.header(7), name=NAMES, position=POSITION[1],
                   velocity=np.zeros(0), effort=np.zeros(2))  # fmt: skip
    quick = decode(make.store, m.JOINT_STATE, message)
    definition = MessageDefinition(
        MessageDefinitionFormat.MSG, make.store.generate_msgdef(m.JOINT_STATE)[0]
    )
    raw = bytearray(make.store.serialize_cdr(message, m.JOINT_STATE, little_endian=False))
    general = Decoder("/topic", m.JOINT_STATE, definition)(9, bytes(raw))
    for message in (quick, general):
        assert isinstance(message, JointSample)
        assert (message.stamp_ns, message.message) == (7 * 10**9 + 5, 0)
        assert message.joint_vel is None
        np.testing.assert_array_equal(message.joint_pos, POSITION[1])


def test_a_message_compressed_by_itself_is_unpacked():
    make = Make(m.typestore())
    raw = zstd.compress(
        bytes(make.store.serialize_cdr(make.joint_trajectory(), m.JOINT_TRAJECTORY))
    )
    assert isinstance(Decoder("/topic", m.JOINT_TRAJECTORY, None)(9, raw), Plan)
    broken = Decoder("/topic", m.JOINT_TRAJECTORY, None)(9, raw[:-9])
    assert isinstance(broken, Unreadable)
    assert broken.value.startswith("compressed: ")


@pytest.mark.parametrize("frames", [1, 2])
def test_a_message_that_unpacks_to_more_than_any_plan_is_refused(frames):
    """Zeros: 9 kB would cost 300 MB."""
    tracemalloc.start()
    packed = zstd.compress(bytes(MAX_BYTES), 19) * frames + zstd.compress(bytes(MAX_BYTES * 4), 19)
    tracemalloc.reset_peak()
    message = Decoder("/topic", m.JOINT_TRAJECTORY, None)(9, packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(packed) < 40_000
    assert message.value == (
        "compressed: unpacks to more than 67108864 bytes, expected a smaller message"
    )
    assert peak < 3 * MAX_BYTES


@pytest.mark.parametrize("length", [0, 1, 4, 30])
def test_bytes_that_no_definition_decodes_give_a_reason(length):
    message = Decoder("/topic", m.DISPLAY_TRAJECTORY, None)(
        9, b"\x00\x01\x00\x00" + b"\xff" * length
    )
    assert (message.code, message.message) == ("DECODE_ERROR", 0)
    assert message.value


def test_a_definition_that_cannot_be_parsed_gives_no_store():
    for text in ("][ what", "", "unknown/Type field"):
        definition = MessageDefinition(MessageDefinitionFormat.MSG, text)
        assert embedded_store(definition, "a/msg/B") is None or text.startswith("unknown")


def test_ros_1_bytes_are_read_by_their_own_definition():
    make = Make(get_typestore(Stores.ROS1_NOETIC))
    message = make.joint_trajectory()
    raw = bytes(make.store.serialize_ros1(message, m.JOINT_TRAJECTORY))
    text = make.store.generate_msgdef(m.JOINT_TRAJECTORY, ros_version=1)[0]
    definition = MessageDefinition(MessageDefinitionFormat.MSG, text)
    message = Decoder("/plan", m.JOINT_TRAJECTORY, definition, ros1=True)(9, raw)
    assert isinstance(message, Plan)
    np.testing.assert_array_equal(message.segments[0].joint_pos, POSITION)


def test_a_humble_bag_without_definitions_is_decoded(write_bag, edit_bag, read_all):
    make = Make(bundled_stores(m.CONTROLLER_STATE)[0])
    message = make.tracked(
        m.CONTROLLER_STATE, reference=make.point(POSITION[0]), feedback=make.point(POSITION[1])
    )
    rows = [("/arm/controller_state", m.CONTROLLER_STATE, time, message) for time in range(3)]
    folder = write_bag(rows, make.store, storage=StoragePlugin.SQLITE3)
    edit_bag(folder, "DELETE FROM message_definitions", "UPDATE schema SET schema_version = 3")
    messages = read_all(folder)
    assert [type(message) for message in messages] == [TrackingSample] * 3


def test_an_object_s_pose_keeps_its_frame_and_its_stamp_by_either_decoder():
    time_ns = 7 * 10**9 + 5
    quick = m.serialize_pose(time_ns, "camera", np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]))
    store = m.typestore()
    message = store.deserialize_cdr(quick, m.POSE_STAMPED)
    general = bytes(store.serialize_cdr(message, m.POSE_STAMPED, little_endian=False))
    for raw in (quick, general):
        message = Decoder("/pen_pose", m.POSE_STAMPED, None)(9, raw)
        assert isinstance(message, ObjectPose)
        assert (message.frame_id, message.stamp_ns, message.log_time_ns) == ("camera", time_ns, 9)
