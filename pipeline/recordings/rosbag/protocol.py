"""The interface of an open bag, whichever library reads it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rosbags.interfaces import MessageDefinition

Key = tuple[str, str]
"""Topic and message type."""


@dataclass(frozen=True)
class BagTopic:
    """One topic of a recording and one type of its messages."""

    topic: str
    msgtype: str
    messages: int
    encoding: str
    """cdr for ROS 2, ros1 for ROS 1; no other encoding can be decoded."""
    definition: MessageDefinition | None = field(repr=False)

    @property
    def key(self) -> Key:
        """Topic and message type, which together identify a stream."""
        return self.topic, self.msgtype


class Bag(Protocol):
    """An open recording."""

    storage: str
    """mcap, sqlite3 or ros1."""
    duration_s: float
    topics: tuple[BagTopic, ...]

    def messages(self, keys: Collection[Key]) -> Iterator[tuple[Key, int, bytes]]:
        """Messages of some topics in order of log time: topic and type, ns, bytes.

        Args:
            keys: which topics.

        Raises:
            BagError: the recording is damaged; the messages before the damage are yielded first.
        """
