"""The names that ROS 2 gives its topics and message types on DDS. Pure.

See "Topic and Service name mapping to DDS" in ROS 2's design documents.
"""

from __future__ import annotations

import re

from pipeline.errors import PipelineError

_TOPIC = re.compile(r"(?:/[A-Za-z_][A-Za-z0-9_]*)+")
_TYPE = re.compile(r"(\w+)/(\w+)/(\w+)")
_DDS_TYPE = re.compile(r"(\w+)::(\w+)::dds_::(\w+)_")


class TopicNameError(PipelineError):
    """A name is none that ROS 2 allows."""


def dds_topic(topic: str) -> str:
    """The DDS topic of a ROS 2 topic: /joint_states is rt/joint_states.

    Args:
        topic: full name, with or without the leading slash.

    Raises:
        TopicNameError: ROS 2 does not allow the name.
    """
    full = f"/{topic.removeprefix('/')}"
    if not _TOPIC.fullmatch(full):
        raise TopicNameError(
            f"{topic!r} is no name of a topic; expected words of letters, digits and underscores "
            "with slashes between them, such as /arm/joint_states"
        )
    return f"rt{full}"


def ros_topic(name: str) -> str | None:
    """The ROS 2 topic of a DDS topic; None if it is none (a service, or another program's).

    Args:
        name: for instance "rt/joint_states".
    """
    return name.removeprefix("rt") if name.startswith("rt/") else None


def dds_type(msgtype: str) -> str:
    """The DDS type of a message type: sensor_msgs::msg::dds_::JointState_.

    Args:
        msgtype: for instance "sensor_msgs/msg/JointState".
    """
    return _TYPE.sub(r"\1::\2::dds_::\3_", msgtype)


def ros_type(name: str) -> str | None:
    """The message type of a DDS type; None if it is none of ROS 2.

    Args:
        name: for instance "sensor_msgs::msg::dds_::JointState_".
    """
    found = _DDS_TYPE.fullmatch(name)
    return "/".join(found.groups()) if found else None
