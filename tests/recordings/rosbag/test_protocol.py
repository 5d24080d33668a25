"""A topic and a type together are one stream of messages."""

import pytest
from rosbags.rosbag2 import StoragePlugin

from pipeline.recordings.rosbag.messages import typestore
from pipeline.recordings.rosbag.reader import open_bag


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_two_types_under_one_name_are_two_streams(write_bag, storage):
    """As after a node was restarted with another message type."""
    types = typestore().types
    text, truth = types["std_msgs/msg/String"], types["std_msgs/msg/Bool"]
    path = write_bag(
        [
            ("/episode_mark", "std_msgs/msg/String", 1, text(data="start")),
            ("/episode_mark", "std_msgs/msg/Bool", 2, truth(data=True)),
            ("/episode_mark", "std_msgs/msg/String", 3, text(data="end")),
        ],
        typestore(),
        storage=storage,
    )
    with open_bag(path) as bag:
        counts = {topic.key: topic.messages for topic in bag.topics}
        assert counts == {
            ("/episode_mark", "std_msgs/msg/String"): 2,
            ("/episode_mark", "std_msgs/msg/Bool"): 1,
        }
        for key, times in (("std_msgs/msg/String", [1, 3]), ("std_msgs/msg/Bool", [2])):
            found = [time_ns for _, time_ns, _ in bag.messages({("/episode_mark", key)})]
            assert found == times
