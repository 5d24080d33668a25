"""Decodes the messages of a bag by the roles of its topics."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pipeline.recordings.recording import Message, Unreadable
from pipeline.recordings.rosbag.decode import Decoder
from pipeline.recordings.rosbag.protocol import Bag, Key
from pipeline.recordings.topics import Reading

_ENCODINGS = {"cdr": False, "ros1": True}


def read_messages(bag: Bag, reading: Reading, msg_path: Path | None = None) -> Generator[Message]:
    """Messages of the topics with a role, in order of log time, after topics that cannot be read.

    Args:
        bag: an open recording.
        reading: roles of its topics.
        msg_path: folder of the user's own .msg files.

    Raises:
        BagError: the recording is damaged; the messages before the damage are yielded first.
        DefinitionError: a definition of the user's cannot be read.
    """
    uses = {(use.topic, use.msgtype): use for use in reading.uses}
    decoders: dict[Key, Decoder] = {}
    for topic in bag.topics:
        use = uses[topic.key]
        if use.has_wrong_type:
            yield Unreadable(topic.topic, None, "TYPE_UNKNOWN", f"{topic.topic} {use.note}")
        if use.role is None:
            continue
        if topic.encoding not in _ENCODINGS:
            value = f"{topic.topic} is serialised as {topic.encoding!r}, expected cdr"
            yield Unreadable(topic.topic, None, "TYPE_UNKNOWN", value)
            continue
        decoders[topic.key] = Decoder(
            topic.topic, topic.msgtype, topic.definition, msg_path, ros1=_ENCODINGS[topic.encoding]
        )
    for key, time_ns, raw in bag.messages(decoders):
        yield decoders[key](time_ns, raw)
