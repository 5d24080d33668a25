"""Each type becomes the same message of a recording, whichever distribution wrote it."""

import numpy as np
import pytest

from pipeline.recordings.recording import Mark, Plan, TrackingSample, Transforms
from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.rosbag.decode import Decoder
from pipeline.recordings.rosbag.definitions import bundled_stores

from .ros_messages import NAMES, POSITION, Make, decode


@pytest.mark.parametrize("msgtype", [m.JOINT_TRAJECTORY, m.ROBOT_TRAJECTORY])
def test_trajectories_by_themselves_are_plans_of_one_segment(msgtype):
    make = Make(m.typestore())
    message = getattr(make, "joint_trajectory" if msgtype == m.JOINT_TRAJECTORY
                      else "robot_trajectory")()  # fmt: skip
    message = decode(make.store, msgtype, message)
    assert isinstance(message, Plan)
    (segment,) = message.segments
    assert segment.joint_names == tuple(NAMES)
    np.testing.assert_array_equal(segment.t, [0.0, 1.0])
    np.testing.assert_array_equal(segment.joint_pos, POSITION)
    np.testing.assert_array_equal(segment.joint_vel, POSITION * 2)


@pytest.mark.parametrize("form", range(4))
def test_a_controller_s_state_of_every_distribution_is_read(form):
    make = Make(bundled_stores(m.CONTROLLER_STATE)[form])
    known = dict(make.store.fielddefs[m.CONTROLLER_STATE][1])
    pair = ("reference", "feedback") if "reference" in known else ("desired", "actual")
    message = make.tracked(
        m.CONTROLLER_STATE, **{pair[0]: make.point(POSITION[0]), pair[1]: make.point(POSITION[1])}
    )
    message = decode(make.store, m.CONTROLLER_STATE, message)
    assert isinstance(message, TrackingSample)
    np.testing.assert_array_equal(message.desired_pos, POSITION[0])
    np.testing.assert_array_equal(message.actual_pos, POSITION[1])
    np.testing.assert_array_equal(message.actual_vel, POSITION[1] * 2)
    assert (message.stamp_ns, message.goal) == (7 * 10**9 + 5, "")


def test_a_humble_controller_that_fills_the_older_fields_only_is_read():
    make = Make(bundled_stores(m.CONTROLLER_STATE)[0])
    message = make.tracked(
        m.CONTROLLER_STATE, desired=make.point(POSITION[0]), actual=make.point(POSITION[1])
    )
    message = decode(make.store, m.CONTROLLER_STATE, message)
    np.testing.assert_array_equal(message.actual_pos, POSITION[1])


@pytest.mark.parametrize("form", range(3))
def test_an_action_s_feedback_carries_its_goal(form):
    make = Make(bundled_stores(m.TRACKING_FEEDBACK)[form])
    feedback = make.tracked(
        "control_msgs/msg/FollowJointTrajectory_Feedback",
        desired=make.point(POSITION[0]), actual=make.point(POSITION[1]),
    )  # fmt: skip
    goal = make("unique_identifier_msgs/msg/UUID", uuid=np.full(16, 0xAB, np.uint8))
    message = make(m.TRACKING_FEEDBACK, goal_id=goal, feedback=feedback)
    message = decode(make.store, m.TRACKING_FEEDBACK, message)
    assert isinstance(message, TrackingSample)
    assert message.goal == "ab" * 16
    np.testing.assert_array_equal(message.desired_pos, POSITION[0])


@pytest.mark.parametrize("name", ["/tf", "/tf_static", "/robot/tf_static"])
def test_static_transforms_are_known_by_their_topic(name):
    make = Make(m.typestore())
    vector = make("geometry_msgs/msg/Vector3", x=1.0, y=2.0, z=3.0)
    rotation = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    transform = make("geometry_msgs/msg/Transform", translation=vector, rotation=rotation)
    stamped = make("geometry_msgs/msg/TransformStamped", header=make.header(1, "base_link"),
                   child_frame_id="pen", transform=transform)  # fmt: skip
    raw = make.store.serialize_cdr(
        make("tf2_msgs/msg/TFMessage", transforms=[stamped]), "tf2_msgs/msg/TFMessage"
    )
    message = Decoder(name, "tf2_msgs/msg/TFMessage", None)(9, bytes(raw))
    assert isinstance(message, Transforms)
    assert message.static == name.endswith("_static")
    assert (message.transforms[0].parent, message.transforms[0].child) == ("base_link", "pen")
    np.testing.assert_array_equal(message.transforms[0].translation, [1.0, 2.0, 3.0])
    assert message.transforms[0].stamp_ns == 10**9 + 5


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
def test_marks_are_start_end_or_next(msgtype, data, kind):
    make = Make(m.typestore())
    assert decode(make.store, msgtype, make(msgtype, **data)) == Mark(9, kind)
