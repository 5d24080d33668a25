"""Names in ROS 2 and on DDS."""

from __future__ import annotations

import pytest

from pipeline.ros2.names import TopicNameError, dds_topic, dds_type, ros_topic, ros_type


def test_topics_have_a_prefix_that_services_lack() -> None:
    assert dds_topic("/joint_states") == dds_topic("joint_states") == "rt/joint_states"
    assert dds_topic("/arm_1/controller/joint_trajectory") == "rt/arm_1/controller/joint_trajectory"
    assert ros_topic("rt/joint_states") == "/joint_states"
    assert ros_topic("rq/get_planning_sceneRequest") is None
    assert ros_topic("ros_discovery_info") is None


@pytest.mark.parametrize("name", ["", "/", "/a//b", "/1a", "/a/", "/joint states", "~/x"])
def test_names_that_ros_refuses_are_refused(name: str) -> None:
    with pytest.raises(TopicNameError, match="no name of a topic"):
        dds_topic(name)


@pytest.mark.parametrize(
    ("msgtype", "name"),
    [
        ("sensor_msgs/msg/JointState", "sensor_msgs::msg::dds_::JointState_"),
        ("control_msgs/action/FollowJointTrajectory_FeedbackMessage",
         "control_msgs::action::dds_::FollowJointTrajectory_FeedbackMessage_"),
    ],
)  # fmt: skip
def test_types_are_mapped_both_ways(msgtype: str, name: str) -> None:
    assert dds_type(msgtype) == name
    assert ros_type(name) == msgtype
    assert ros_type("HelloWorld") is None
