"""Chooses one topic of joints where a recording holds the arm's joints several times.

A relay or an aggregating publisher repeats the same joints under another name, and a controller may
publish its state under an old and a new name. Reading both would give every demonstration twice.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice

from pipeline.params import Params
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import JointSample, TrackingSample
from pipeline.recordings.rosbag.files import BagError
from pipeline.recordings.rosbag.protocol import Bag
from pipeline.recordings.rosbag.reader import summarize
from pipeline.recordings.rosbag.stream import read_messages
from pipeline.recordings.topics import Reading, TopicUse, choose_topics

# Publishers that share a topic take turns: the arm's joints stand among its first messages.
_MESSAGES = 1000


def read_topics(bag: Bag, params: Params) -> Reading:
    """Give each topic of a recording its role, and that of the joints to one topic.

    Of several topics that name all the arm's joints, the one whose name is the parameter's without
    a namespace is read, else the one with the most messages.

    Args:
        bag: an open recording.
        params: topics, joints, name of the object.

    Raises:
        DefinitionError: `ingest.msg_path` holds a definition that cannot be read.
    """
    rules = params.ingest
    topics = summarize(bag)
    reading = choose_topics(topics, rules, params.task.object)
    uses = [use for use in reading.uses if use.role in {"joints", "tracking"}]
    if len(uses) < 2:
        return reading
    fitting = [use for use in uses if _names_arm(bag, reading, use, params)]
    if not fitting:
        return reading
    messages = {(topic.topic, topic.msgtype): topic.messages for topic in topics}
    names = {str(name).strip("/") for name in (rules.joint_topic, rules.tracking_topic) if name}

    def preference(use: TopicUse) -> tuple[bool, int, str]:
        number = messages[use.topic, use.msgtype]
        return use.topic.strip("/") not in names, -number, use.topic

    chosen = min(fitting, key=preference)
    left_out = [use for use in uses if use is not chosen]
    return replace(
        reading,
        uses=tuple(
            _leave_out(use, chosen, use in fitting) if use in left_out else use
            for use in reading.uses
        ),
    )


def _leave_out(use: TopicUse, chosen: TopicUse, repeats: bool) -> TopicUse:
    if not repeats:
        return replace(use, role=None, note="not read: does not name all of the arm's joints")
    parameter = "ingest.joint_topic" if use.role == "joints" else "ingest.tracking_topic"
    note = f"not read: {chosen.topic} names the same joints; to read this one, set {parameter}"
    return replace(use, role=None, note=note, repeats=chosen.topic)


def _names_arm(bag: Bag, reading: Reading, use: TopicUse, params: Params) -> bool:
    """Whether a message at the start of a topic names all of the arm's joints."""
    joints, prefix = params.robot.joints, params.ingest.joint_prefix
    messages = read_messages(bag, reading.alone(use), params.ingest.msg_path)
    with closing(messages), suppress(BagError):
        for message in islice(messages, _MESSAGES):
            if isinstance(message, JointSample | TrackingSample):
                found, _ = find_joints(message.joint_names, joints, prefix)
                if found is not None:
                    return True
    return False
