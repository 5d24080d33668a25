"""Every message that can hold a motion becomes the same event, whichever distribution wrote it."""

import numpy as np
import pytest
from backports import zstd
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from pipeline.recordings.recording import (
    JointSample,
    Mark,
    ObjectPose,
    Plan,
    TrackingSample,
    Transforms,
    Unreadable,
)
from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.rosbag.decode import Decoder, embedded_store
from pipeline.recordings.rosbag.definitions import bundled_stores

NAMES = ["joint_1", "joint_2"]
POSITION = np.array([[0.0, 0.1], [0.2, 0.3]])


class Make:
    """Messages of one store."""

    def __init__(self, store):
        self.store = store

    def __call__(self, kind, /, **fields):
        return self.store.types[kind](**fields)

    def header(self, seconds=0, frame=""):
        extra = {"seq": 0} if "seq" in dict(self.store.fielddefs["std_msgs/msg/Header"][1]) else {}
        stamp = self("builtin_interfaces/msg/Time", sec=seconds, nanosec=5)
        return self("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **extra)

    def point(self, position, seconds=0):
        none = np.zeros(0)
        return self(
            "trajectory_msgs/msg/JointTrajectoryPoint", positions=position, velocities=position * 2,
            accelerations=none, effort=none,
            time_from_start=self("builtin_interfaces/msg/Duration", sec=seconds, nanosec=0),
        )  # fmt: skip

    def joint_trajectory(self):
        points = [self.point(row, index) for index, row in enumerate(POSITION)]
        return self(m.JOINT_TRAJECTORY, header=self.header(), joint_names=NAMES, points=points)

    def robot_trajectory(self):
        multi = self("trajectory_msgs/msg/MultiDOFJointTrajectory", header=self.header(),
                     joint_names=[], points=[])  # fmt: skip
        return self(m.ROBOT_TRAJECTORY, joint_trajectory=self.joint_trajectory(),
                    multi_dof_joint_trajectory=multi)  # fmt: skip

    def multi_point(self):
        return self("trajectory_msgs/msg/MultiDOFJointTrajectoryPoint", transforms=[],
                    velocities=[], accelerations=[], time_from_start=self(
                        "builtin_interfaces/msg/Duration", sec=0, nanosec=0))  # fmt: skip

    def tracked(self, msgtype, **fields):
        """A controller's state or feedback: every point it knows, those not given left empty."""
        for name, (kind, detail) in self.store.fielddefs[msgtype][1]:
            if kind.name == "NAME" and detail.endswith("/JointTrajectoryPoint"):
                fields.setdefault(name, self.point(np.zeros(0)))
            elif kind.name == "NAME" and detail.endswith("/MultiDOFJointTrajectoryPoint"):
                fields.setdefault(name, self.multi_point())
            elif kind.name == "BASE":
                fields.setdefault(name, 1)
        fields.setdefault("multi_dof_joint_names", [])
        known = dict(self.store.fielddefs[msgtype][1])
        chosen = {name: value for name, value in fields.items() if name in known}
        return self(msgtype, header=self.header(7), joint_names=NAMES, **chosen)


def decode(store, msgtype, message, *, embedded=None, **options):
    raw = bytes(store.serialize_cdr(message, msgtype))
    return Decoder("/topic", msgtype, embedded, **options)(9, raw)


@pytest.mark.parametrize("msgtype", [m.JOINT_TRAJECTORY, m.ROBOT_TRAJECTORY])
def test_trajectories_by_themselves_are_plans_of_one_segment(msgtype):
    make = Make(m.typestore())
    message = getattr(make, "joint_trajectory" if msgtype == m.JOINT_TRAJECTORY
                      else "robot_trajectory")()  # fmt: skip
    event = decode(make.store, msgtype, message)
    assert isinstance(event, Plan)
    (segment,) = event.segments
    assert segment.joint_names == tuple(NAMES)
    np.testing.assert_array_equal(segment.t, [0.0, 1.0])
    np.testing.assert_array_equal(segment.joint_pos, POSITION)
    np.testing.assert_array_equal(segment.joint_vel, POSITION * 2)


@pytest.mark.parametrize("form", range(4))
def test_a_controller_s_state_is_read_in_the_form_of_every_distribution(form):
    make = Make(bundled_stores(m.CONTROLLER_STATE)[form])
    known = dict(make.store.fielddefs[m.CONTROLLER_STATE][1])
    pair = ("reference", "feedback") if "reference" in known else ("desired", "actual")
    message = make.tracked(
        m.CONTROLLER_STATE, **{pair[0]: make.point(POSITION[0]), pair[1]: make.point(POSITION[1])}
    )
    event = decode(make.store, m.CONTROLLER_STATE, message)
    assert isinstance(event, TrackingSample)
    np.testing.assert_array_equal(event.desired_pos, POSITION[0])
    np.testing.assert_array_equal(event.actual_pos, POSITION[1])
    np.testing.assert_array_equal(event.actual_vel, POSITION[1] * 2)
    assert (event.stamp_ns, event.goal) == (7 * 10**9 + 5, "")


def test_a_humble_controller_that_fills_the_older_fields_only_is_read():
    make = Make(bundled_stores(m.CONTROLLER_STATE)[0])
    message = make.tracked(
        m.CONTROLLER_STATE, desired=make.point(POSITION[0]), actual=make.point(POSITION[1])
    )
    event = decode(make.store, m.CONTROLLER_STATE, message)
    np.testing.assert_array_equal(event.actual_pos, POSITION[1])


@pytest.mark.parametrize("form", range(3))
def test_an_action_s_feedback_carries_its_goal(form):
    make = Make(bundled_stores(m.TRACKING_FEEDBACK)[form])
    feedback = make.tracked(
        "control_msgs/msg/FollowJointTrajectory_Feedback",
        desired=make.point(POSITION[0]), actual=make.point(POSITION[1]),
    )  # fmt: skip
    goal = make("unique_identifier_msgs/msg/UUID", uuid=np.full(16, 0xAB, np.uint8))
    message = make(m.TRACKING_FEEDBACK, goal_id=goal, feedback=feedback)
    event = decode(make.store, m.TRACKING_FEEDBACK, message)
    assert isinstance(event, TrackingSample)
    assert event.goal == "ab" * 16
    np.testing.assert_array_equal(event.desired_pos, POSITION[0])


def test_an_attached_object_is_read_in_the_form_before_humble_and_since():
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


@pytest.mark.parametrize("name", ["/tf", "/tf_static", "/robot/tf_static"])
def test_transforms_know_whether_they_hold_for_ever(name):
    make = Make(m.typestore())
    vector = make("geometry_msgs/msg/Vector3", x=1.0, y=2.0, z=3.0)
    rotation = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    transform = make("geometry_msgs/msg/Transform", translation=vector, rotation=rotation)
    stamped = make("geometry_msgs/msg/TransformStamped", header=make.header(1, "base_link"),
                   child_frame_id="pen", transform=transform)  # fmt: skip
    raw = make.store.serialize_cdr(
        make("tf2_msgs/msg/TFMessage", transforms=[stamped]), "tf2_msgs/msg/TFMessage"
    )
    event = Decoder(name, "tf2_msgs/msg/TFMessage", None)(9, bytes(raw))
    assert isinstance(event, Transforms)
    assert event.static == name.endswith("_static")
    assert (event.transforms[0].parent, event.transforms[0].child) == ("base_link", "pen")
    np.testing.assert_array_equal(event.transforms[0].translation, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("msgtype", "data", "kind"),
    [
        ("std_msgs/msg/Bool", {"data": True}, "start"),
        ("std_msgs/msg/Bool", {"data": False}, "end"),
        ("std_msgs/msg/String", {"data": " Start "}, "start"),
        ("std_msgs/msg/String", {"data": "stop"}, "end"),
        ("std_msgs/msg/String", {"data": "episode 7"}, "next"),
        ("std_msgs/msg/Empty", {"structure_needs_at_least_one_member": 0}, "next"),
    ],
)
def test_marks_say_start_end_or_next(msgtype, data, kind):
    make = Make(m.typestore())
    assert decode(make.store, msgtype, make(msgtype, **data)) == Mark(9, kind)


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
    for event in (quick, general):
        assert isinstance(event, JointSample)
        assert (event.stamp_ns, event.message) == (7 * 10**9 + 5, 0)
        assert event.joint_vel is None
        np.testing.assert_array_equal(event.joint_pos, POSITION[1])


def test_a_message_compressed_by_itself_is_unpacked():
    make = Make(m.typestore())
    raw = zstd.compress(
        bytes(make.store.serialize_cdr(make.joint_trajectory(), m.JOINT_TRAJECTORY))
    )
    assert isinstance(Decoder("/topic", m.JOINT_TRAJECTORY, None)(9, raw), Plan)
    broken = Decoder("/topic", m.JOINT_TRAJECTORY, None)(9, raw[:-9])
    assert isinstance(broken, Unreadable)
    assert broken.value.startswith("compressed: ")


@pytest.mark.parametrize("length", [0, 1, 4, 30])
def test_bytes_that_nothing_decodes_say_why(length):
    event = Decoder("/topic", m.DISPLAY_TRAJECTORY, None)(9, b"\x00\x01\x00\x00" + b"\xff" * length)
    assert (event.code, event.message) == ("DECODE_ERROR", 0)
    assert event.value


def test_a_definition_nobody_can_parse_gives_no_store():
    for text in ("][ what", "", "unknown/Type field"):
        definition = MessageDefinition(MessageDefinitionFormat.MSG, text)
        assert embedded_store(definition, "a/msg/B") is None or text.startswith("unknown")


def test_ros_1_bytes_are_read_by_their_own_definition():
    make = Make(get_typestore(Stores.ROS1_NOETIC))
    message = make.joint_trajectory()
    raw = bytes(make.store.serialize_ros1(message, m.JOINT_TRAJECTORY))
    text = make.store.generate_msgdef(m.JOINT_TRAJECTORY, ros_version=1)[0]
    definition = MessageDefinition(MessageDefinitionFormat.MSG, text)
    event = Decoder("/plan", m.JOINT_TRAJECTORY, definition, ros1=True)(9, raw)
    assert isinstance(event, Plan)
    np.testing.assert_array_equal(event.segments[0].joint_pos, POSITION)


def test_a_humble_bag_without_definitions_is_decoded(write_bag, edit_bag, read_all):
    make = Make(bundled_stores(m.CONTROLLER_STATE)[0])
    message = make.tracked(
        m.CONTROLLER_STATE, reference=make.point(POSITION[0]), feedback=make.point(POSITION[1])
    )
    rows = [("/arm/controller_state", m.CONTROLLER_STATE, time, message) for time in range(3)]
    folder = write_bag(rows, make.store, storage=StoragePlugin.SQLITE3)
    edit_bag(folder, "DELETE FROM message_definitions", "UPDATE schema SET schema_version = 3")
    events = read_all(folder)
    assert [type(event) for event in events] == [TrackingSample] * 3


def test_an_object_s_pose_keeps_its_frame():
    raw = m.serialize_pose(1, "camera", np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]))
    event = Decoder("/pen_pose", m.POSE_STAMPED, None)(9, raw)
    assert isinstance(event, ObjectPose)
    assert event.frame_id == "camera"
