"""What every open bag offers, whichever library reads it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rosbags.interfaces import MessageDefinition

Key = tuple[str, str]
"""Topic and message type."""


@dataclass(frozen=True)
class RawTopic:
    """One topic as a recording describes it."""

    topic: str
    msgtype: str
    messages: int
    encoding: str
    """cdr for ROS 2, ros1 for ROS 1; anything else is not understood."""
    definition: MessageDefinition | None = field(repr=False)

    @property
    def key(self) -> Key:
        """Topic and message type, which together are one stream."""
        return self.topic, self.msgtype


class Bag(Protocol):
    """An open recording."""

    storage: str
    """mcap, sqlite3 or ros1."""
    duration_s: float
    topics: tuple[RawTopic, ...]

    def messages(self, keys: Collection[Key]) -> Iterator[tuple[Key, int, bytes]]:
        """Messages of some topics in order of log time: topic and type, ns, bytes.

        Args:
            keys: which topics.

        Raises:
            BagError: the recording breaks; what stands before is passed on first.
        """
