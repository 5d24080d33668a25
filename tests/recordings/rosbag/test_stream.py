"""Topics with a role are decoded in order; those that cannot be read are reported first."""

import numpy as np
import pytest
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from pipeline.recordings.recording import JointSample, Unreadable
from pipeline.recordings.rosbag.messages import JOINT_STATE, POSE_STAMPED, JointStateSerializer
from pipeline.recordings.rosbag.protocol import BagTopic
from pipeline.recordings.rosbag.stream import read_messages
from pipeline.recordings.topics import Reading, TopicUse


class Recording:
    """A bag that holds two joint states and a topic that is not read."""

    storage, duration_s = "mcap", 1.0

    def __init__(self, encoding="cdr"):
        none = MessageDefinition(MessageDefinitionFormat.NONE, "")
        self.topics = (
            BagTopic("/joint_states", JOINT_STATE, 2, encoding, none),
            BagTopic("/pen_pose", "std_msgs/msg/String", 1, "cdr", none),
        )

    def messages(self, keys):
        assert set(keys) <= {("/joint_states", JOINT_STATE)}
        raw = JointStateSerializer(["a"])(0, np.zeros(1), np.zeros(1))
        for time_ns in (1, 2) if keys else ():
            yield ("/joint_states", JOINT_STATE), time_ns, raw


READING = Reading(
    "joints",
    (
        TopicUse("/joint_states", JOINT_STATE, "joints", "by its name"),
        TopicUse("/pen_pose", "std_msgs/msg/String", None, f"expected {POSE_STAMPED}", True),
    ),
)


def test_a_topic_of_a_wrong_type_is_reported_and_the_rest_is_read():
    first, *samples = read_messages(Recording(), READING)
    assert isinstance(first, Unreadable)
    assert (first.code, first.topic, first.message) == ("TYPE_UNKNOWN", "/pen_pose", None)
    assert [sample.log_time_ns for sample in samples] == [1, 2]
    assert all(isinstance(sample, JointSample) for sample in samples)


@pytest.mark.parametrize("encoding", ["json", "", "wrong_rmw"])
def test_a_topic_serialised_in_another_way_is_refused(encoding):
    messages = list(read_messages(Recording(encoding), READING))
    assert [message.code for message in messages] == ["TYPE_UNKNOWN"] * 2
    assert f"is serialised as {encoding!r}, expected cdr" in messages[0].value
