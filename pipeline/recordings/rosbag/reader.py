"""Reads rosbag2 and ROS 1 recordings as a stream of undecoded messages, one in memory at a time.

Owns the storages and what may be wrong with them.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backports import zstd
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader

from pipeline.recordings.rosbag.compression import unpack_file
from pipeline.recordings.rosbag.files import COMPRESSED_SUFFIX, STORAGES, BagError, storage_files
from pipeline.recordings.rosbag.protocol import Bag, BagTopic, Key
from pipeline.recordings.rosbag.recovery import RecoveredMcap
from pipeline.recordings.topics import TopicCount


@contextmanager
def open_bag(path: Path, *, salvage: bool = False) -> Iterator[Bag]:
    """Open a recording.

    Args:
        path: a rosbag2 folder, or a bare .mcap, .db3 or .bag file (or such a file in zstd).
        salvage: read what is left of an .mcap file that is cut off.

    Raises:
        BagError: the recording is missing, cut off, or cannot be read.
    """
    if not path.exists():
        raise BagError(
            f"{path}: no such recording; expected a rosbag2 folder, .mcap, .db3 or .bag: correct "
            "ingest.source"
        )
    with ExitStack() as stack:
        parts: list[Bag] = []
        for file in storage_files(path, salvage=salvage):
            plain = _unpacked(file, stack)
            if salvage and plain.suffix == ".mcap":
                parts.append(RecoveredMcap(plain))
                continue
            part = _RosbagsFile(path, plain)
            stack.callback(part.close)
            # Without an index the library stops at the first message out of order.
            sorted_part = RecoveredMcap(plain) if part.unindexed else None
            parts.append(part if sorted_part is None or sorted_part.fault else sorted_part)
        yield parts[0] if len(parts) == 1 else _SplitBag(parts)


def is_whole(path: Path) -> bool:
    """Whether every message of a recording can be read; decodes none of them.

    Args:
        path: a rosbag2 folder or a bare file.
    """
    try:
        with open_bag(path) as bag:
            for _ in bag.messages({topic.key for topic in bag.topics}):
                pass
    except BagError:
        return False
    return True


def summarize(bag: Bag) -> tuple[TopicCount, ...]:
    """Topics, types and numbers of messages, in the order of their names.

    Args:
        bag: an open recording.
    """
    return tuple(
        TopicCount(topic.topic, topic.msgtype, topic.messages)
        for topic in sorted(bag.topics, key=lambda topic: (topic.topic, topic.msgtype))
    )


def _unpacked(file: Path, stack: ExitStack) -> Path:
    """The file as the library reads it: without zstd, and with SQLite's write-ahead log applied."""
    log = file.with_name(file.name + "-wal")
    waiting = file.suffix == ".db3" and log.is_file() and log.stat().st_size > 0
    if file.suffix != COMPRESSED_SUFFIX and not waiting:
        return file
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="ingest-")))
    try:
        if waiting:
            copy = folder / file.name
            shutil.copyfile(file, copy)
            shutil.copyfile(log, copy.with_name(log.name))
            with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as connection:
                # The reader reports a fault of the file.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return copy
        copy = folder / file.stem
        unpack_file(file, copy)
    except (OSError, EOFError, ValueError, zstd.ZstdError) as error:
        raise _bag_error(file, error) from error
    return copy


class _RosbagsFile:
    """One storage file, read by the rosbags library."""

    def __init__(self, path: Path, file: Path) -> None:
        self._path = path
        self.storage = STORAGES[file.suffix]
        self._reader: Any = None
        try:
            self._reader = Ros1Reader(file) if self.storage == "ros1" else Reader(file)
            self._reader.open()
            connections: list[Connection] = list(self._reader.connections)
            self.duration_s = max(0, self._reader.duration) * 1e-9
            self.topics = tuple(_bag_topic(each, self.storage) for each in connections)
            self.unindexed = self.storage == "mcap" and not self._reader.storage.chunks
        except Exception as error:  # rosbags raises the errors of its storage libraries
            raise _bag_error(path, error) from error

    def messages(self, keys: Collection[Key]) -> Iterator[tuple[Key, int, bytes]]:
        wanted = [each for each in self._reader.connections if (each.topic, each.msgtype) in keys]
        if not wanted:
            return
        stream = self._reader.messages(wanted)
        while True:
            try:
                connection, time_ns, raw = next(stream)
                message = ((connection.topic, connection.msgtype), int(time_ns), bytes(raw))
            except StopIteration:
                return
            except Exception as error:  # … and those of decompression
                raise _bag_error(self._path, error) from error
            yield message

    def close(self) -> None:
        with suppress(Exception):  # a reader whose file is damaged may fail to close
            self._reader.close()


def _bag_topic(connection: Connection, storage: str) -> BagTopic:
    encoding = getattr(connection.ext, "serialization_format", storage)
    return BagTopic(
        connection.topic, connection.msgtype, connection.msgcount, encoding, connection.msgdef
    )


class _SplitBag:
    """A recording split over several files, read one after the other."""

    def __init__(self, parts: list[Bag]) -> None:
        self._parts = parts
        self.storage = parts[0].storage
        self.duration_s = sum(part.duration_s for part in parts)
        topics: dict[Key, BagTopic] = {}
        for topic in (topic for part in parts for topic in part.topics):
            key = topic.key
            before = topics.get(key)
            number = topic.messages + (0 if before is None else before.messages)
            definition = topic.definition if before is None else before.definition
            topics[key] = BagTopic(*key, number, topic.encoding, definition)
        self.topics = tuple(topics.values())

    def messages(self, keys: Collection[Key]) -> Iterator[tuple[Key, int, bytes]]:
        for part in self._parts:
            yield from part.messages(keys)


def _bag_error(path: Path, error: Exception) -> BagError:
    """The error for a recording that the libraries cannot read."""
    signs = (
        "end magic", "truncated", "malformed", "not a database", "missing tables", "empty", "ord()",
        "not indexed", "end-of-stream", "index",
    )  # fmt: skip
    if isinstance(error, EOFError | struct.error) or any(
        sign in str(error).lower() for sign in signs
    ):
        return BagError(
            f"{path}: is cut off or damaged ({error}); expected a whole recording: set "
            "ingest.salvage for an .mcap, or try `ros2 bag reindex` or `rosbag reindex`",
            "BAG_TRUNCATED",
        )
    return BagError(f"{path}: cannot be read ({error}); expected a rosbag2 or ROS 1 recording")
