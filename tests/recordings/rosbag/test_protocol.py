"""A stream is known by topic and type together."""

from pipeline.recordings.rosbag.protocol import RawTopic


def test_a_topic_s_key_is_its_name_and_type():
    assert RawTopic("/a", "b/msg/C", 3, "cdr", None).key == ("/a", "b/msg/C")
