"""Records what ROS 2 nodes publish: finds topics, subscribes to them, writes what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.typesys.store import Typestore

from pipeline.recordings.rosbag.definitions import bundled_stores, own_store
from pipeline.recordings.rosbag.messages import (
    ATTACHED_OBJECT,
    COLLISION_OBJECT,
    CONTROLLER_STATE,
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    JOINT_TRAJECTORY,
    PLANNING_SCENE,
    POSE_STAMPED,
    ROBOT_TRAJECTORY,
    TF_MESSAGES,
    TRACKING_FEEDBACK,
)
from pipeline.ros2.bag import RecordedBag
from pipeline.ros2.names import dds_topic
from pipeline.ros2.network import Publication, Reach
from pipeline.ros2.participant import Participant, Subscription

RECORDED_TYPES = frozenset(
    (
        DISPLAY_TRAJECTORY, ROBOT_TRAJECTORY, JOINT_TRAJECTORY, TRACKING_FEEDBACK, CONTROLLER_STATE,
        JOINT_STATE, POSE_STAMPED, *TF_MESSAGES, PLANNING_SCENE, COLLISION_OBJECT, ATTACHED_OBJECT,
    )
)  # fmt: skip
"""What ingest reads, except marks, which it reads by name only."""
_WAIT_S = 0.1


@dataclass
class _Stream:
    """A topic that is recorded."""

    store: Typestore
    connection: Connection
    reach: Reach
    subscription: Subscription
    messages: int = 0
    lost: int = 0
    """By subscriptions that have ended."""


class Recorder:
    """Subscribes to topics as they appear, and writes their messages."""

    def __init__(
        self,
        participant: Participant,
        bag: RecordedBag,
        topics: Collection[str],
        msg_path: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        """Start without any topic.

        Args:
            participant: where.
            bag: what to write.
            topics: names of the topics to record; none for every topic that ingest could read.
            msg_path: folder of the user's own .msg files.
            tell: receives what the user should know.

        Raises:
            TopicNameError: a name is none of a topic.
        """
        self._participant, self._bag, self._tell = participant, bag, tell
        self._wanted = {dds_topic(name).removeprefix("rt") for name in topics}
        self._msg_path = msg_path
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._refused: set[tuple[str, str]] = set()
        self._last_ns = time.time_ns()
        """Time of the last message, ns, or of the beginning: latched ones may be much older."""

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Record until stopped.

        Args:
            is_stopped: whether to end, asked several times a second.

        Raises:
            DdsError: a topic cannot be subscribed to.
            DefinitionError: a file of `msg_path` cannot be read.
        """
        while not is_stopped():
            self.find_topics()
            self._participant.wait(_WAIT_S)
            self.write_messages()

    def find_topics(self) -> None:
        """Subscribe to the topics that appeared."""
        for publication in self._participant.discover():
            key = publication.topic, publication.msgtype
            stream = self._streams.get(key)
            if stream is not None:
                self._accept_weaker(stream, publication)
            elif key not in self._refused and self._is_wanted(publication):
                self._begin(publication)

    def _is_wanted(self, publication: Publication) -> bool:
        if self._wanted:
            return publication.topic in self._wanted
        return publication.msgtype in RECORDED_TYPES

    def _begin(self, publication: Publication) -> None:
        topic, msgtype = key = publication.topic, publication.msgtype
        store, is_certain = self._definition(publication)
        if store is None:
            self._refused.add(key)
            self._tell(
                f"not recorded: {topic}, because the definition of {msgtype} is not known; name "
                "the folder of its .msg files with --msg-path"
            )
            return
        self._streams[key] = _Stream(
            store, self._bag.add_topic(publication, store), publication.reach,
            self._participant.subscribe(topic, msgtype, store, publication.reach, None),
        )  # fmt: skip
        self._tell(f"recording {topic} ({msgtype})")
        if not is_certain:
            self._tell(
                f"{topic}: its publisher has another definition of {msgtype} than the recording; "
                "if ingest cannot read it, record with --msg-path"
            )

    def _definition(self, publication: Publication) -> tuple[Typestore | None, bool]:
        """The definition of a type, and whether it is the publisher's as far as that is known."""
        msgtype, named = publication.msgtype, publication.type_hash
        own = None if self._msg_path is None else own_store(self._msg_path, msgtype)
        stores = [*([] if own is None else [own]), *bundled_stores(msgtype)]
        for store in stores:
            if named in ("", store.hash_rihs01(msgtype)):
                return store, True
        return (stores[0], False) if stores else (None, False)

    def _accept_weaker(self, stream: _Stream, publication: Publication) -> None:
        """Subscribe anew where another publisher of the topic offers less."""
        reach = stream.reach.with_weaker(publication.reach)
        if reach == stream.reach:
            return
        self.write_messages()
        stream.lost += stream.subscription.lost
        self._participant.unsubscribe(stream.subscription)
        stream.reach = reach
        stream.subscription = self._participant.subscribe(
            publication.topic, publication.msgtype, stream.store, reach, None
        )

    def write_messages(self) -> None:
        """Write the messages that have come, each with the time at which it came.

        Those that came together keep the order and the distances in which they were published,
        because ingest finds the pose of a plan by time.
        """
        came = [
            (sample.source_time_ns, key, sample.data)
            for key, stream in self._streams.items()
            for sample in stream.subscription.take()
        ]
        came.sort(key=lambda each: each[0])
        now_ns = time.time_ns()
        for source_ns, key, data in came:
            stream = self._streams[key]
            stream.messages += 1
            self._last_ns = max(self._last_ns + 1, now_ns - (came[-1][0] - source_ns))
            self._bag.write(stream.connection, self._last_ns, data)

    def summary(self) -> list[str]:
        """A line for each topic: its messages, and those that were published and never came."""
        lines = []
        for (topic, msgtype), stream in sorted(self._streams.items()):
            lost = stream.lost + stream.subscription.lost
            ending = f", {lost} lost" if lost else ""
            lines.append(f"{topic} ({msgtype}): {stream.messages} messages{ending}")
        return lines
