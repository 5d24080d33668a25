"""Reads rosbag2 and ROS 1 recordings as a stream of raw messages, one in memory at a time.

Owns files, storages and what may be wrong with them. Reads the storage files themselves:
metadata.yaml only says which they are, so an old, stale or missing one costs nothing.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from backports import zstd
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader

from pipeline.recordings.recording import RecordingError
from pipeline.recordings.rosbag.protocol import Bag, Key, RawTopic
from pipeline.recordings.rosbag.recovery import SalvagedMcap
from pipeline.recordings.topics import TopicCount

STORAGES = {".mcap": "mcap", ".db3": "sqlite3", ".bag": "ros1"}
METADATA = "metadata.yaml"

_COMPRESSED = ".zstd"
_SPLIT = re.compile(r"(?P<name>.+)_(?P<number>\d+)")


class BagError(RecordingError):
    """A bag cannot be read."""

    def __init__(self, message: str, code: str = "BAG_UNREADABLE") -> None:
        """Say what happened.

        Args:
            message: file, value, what was expected, what to do.
            code: BAG_UNREADABLE, BAG_TRUNCATED or BAG_EMPTY.
        """
        super().__init__(message)
        self.code = code


def is_storage(file: Path) -> bool:
    """Whether a file's name is that of a bag: .mcap, .db3, .bag, or such a file in zstd."""
    return storage_suffix(file) is not None


def storage_suffix(file: Path) -> str | None:
    """The suffix that names a file's storage, None where it is no bag."""
    suffix = Path(file.stem).suffix if file.suffix == _COMPRESSED else file.suffix
    return suffix if suffix in STORAGES else None


def storage_of(path: Path) -> str:
    """How a recording keeps its messages: mcap, sqlite3 or ros1.

    Args:
        path: a rosbag2 folder, or a bare file.
    """
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        suffix = storage_suffix(file)
        if suffix is not None:
            return STORAGES[suffix]
    return "unknown"


def is_split(folder: Path) -> bool:
    """Whether the bags in a folder are parts of one recording.

    rosbag2 names parts as their folder, with _0, _1 and so on; bags that somebody numbered in
    another way are recordings of their own.

    Args:
        folder: a folder without metadata.yaml.
    """
    stems = [file.name.partition(".")[0] for file in folder.iterdir() if is_storage(file)]
    parts = [_SPLIT.fullmatch(stem) for stem in stems]
    names = {part["name"] for part in parts if part is not None}
    return len(stems) > 1 and names == {folder.name} and None not in parts


def storage_files(path: Path, *, salvage: bool = False) -> list[Path]:
    """The files of a recording, in order.

    Args:
        path: a rosbag2 folder, or a bare file.
        salvage: read what is there where files that metadata.yaml names are missing.

    Raises:
        BagError: there are none, or fewer than metadata.yaml names.
    """
    if not path.is_dir():
        return [path]
    held = sorted((file for file in path.iterdir() if is_storage(file)), key=_natural)
    named = _named_files(path / METADATA)
    missing = [name for name in named if not (path / name).is_file()]
    if missing and len(held) < len(named) and not salvage:
        raise BagError(
            f"{path}: {METADATA} names {', '.join(missing)}, which is not there; expected "
            f"{len(named)} files: copy the recording again, or set ingest.salvage to read the rest"
        )
    if not held:
        raise BagError(
            f"{path}: holds no .mcap or .db3 file; expected the recording beside its {METADATA}: "
            "copy it again"
        )
    # A stale list says nothing about the order.
    order = {} if missing else {name: index for index, name in enumerate(named)}
    return sorted(held, key=lambda file: order.get(file.name, len(order)))


def _natural(file: Path) -> tuple[str, int]:
    part = _SPLIT.fullmatch(file.name.partition(".")[0])
    return (file.name, 0) if part is None else (part["name"], int(part["number"]))


def _named_files(metadata: Path) -> list[str]:
    """Names of the files that metadata.yaml lists, whatever folder it believes them in."""
    try:
        loaded = yaml.load(metadata.read_bytes(), Loader=yaml.CSafeLoader)
        paths = loaded["rosbag2_bagfile_information"]["relative_file_paths"]
        return [PurePath(path).name for path in paths]
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError):
        return []


@contextmanager
def open_bag(path: Path, *, salvage: bool = False) -> Iterator[Bag]:
    """An open recording.

    Args:
        path: a rosbag2 folder, or a bare .mcap, .db3 or .bag file (or such a file in zstd).
        salvage: of an .mcap file that is cut off, read what is there.

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
                parts.append(SalvagedMcap(plain))
                continue
            part = _RosbagsFile(path, plain)
            stack.callback(part.close)
            # Without an index the library gives up at the first message out of order.
            walked = SalvagedMcap(plain) if part.unindexed else None
            parts.append(part if walked is None or walked.fault else walked)
        yield parts[0] if len(parts) == 1 else _Parts(parts)


def is_whole(path: Path) -> bool:
    """Whether every message of a recording can be read; decodes none.

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
    """Topics, types and numbers of messages, by name.

    Args:
        bag: an open recording.
    """
    return tuple(
        TopicCount(topic.topic, topic.msgtype, topic.messages)
        for topic in sorted(bag.topics, key=lambda topic: (topic.topic, topic.msgtype))
    )


def _unpacked(file: Path, stack: ExitStack) -> Path:
    """The file as the library reads it: out of zstd, and with SQLite's write-ahead log taken in."""
    log = file.with_name(file.name + "-wal")
    waiting = file.suffix == ".db3" and log.is_file() and log.stat().st_size > 0
    if file.suffix != _COMPRESSED and not waiting:
        return file
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="ingest-")))
    try:
        if waiting:
            copy = folder / file.name
            shutil.copyfile(file, copy)
            shutil.copyfile(log, copy.with_name(log.name))
            # The reader says what is wrong with it.
            with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return copy
        copy = folder / file.stem
        with zstd.open(file, "rb") as packed, copy.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    except (OSError, EOFError, ValueError, zstd.ZstdError) as error:
        raise _fault(file, error) from error
    return copy


class _RosbagsFile:
    """One storage file, read by the library."""

    def __init__(self, path: Path, file: Path) -> None:
        self._path = path
        self.storage = STORAGES[file.suffix]
        self._reader: Any = None
        try:
            self._reader = Ros1Reader(file) if self.storage == "ros1" else Reader(file)
            self._reader.open()
            connections: list[Connection] = list(self._reader.connections)
            self.duration_s = max(0, self._reader.duration) * 1e-9
            self.topics = tuple(_raw_topic(each, self.storage) for each in connections)
            self.unindexed = self.storage == "mcap" and not self._reader.storage.chunks
        except Exception as error:  # rosbags lets faults of the storage through as they are
            raise _fault(path, error) from error

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
            except Exception as error:  # … and faults of decompression
                raise _fault(self._path, error) from error
            yield message

    def close(self) -> None:
        with suppress(Exception):  # a reader whose file broke may not close either
            self._reader.close()


def _raw_topic(connection: Connection, storage: str) -> RawTopic:
    encoding = getattr(connection.ext, "serialization_format", storage)
    return RawTopic(
        connection.topic, connection.msgtype, connection.msgcount, encoding, connection.msgdef
    )


class _Parts:
    """A recording split over several files, read one after the other."""

    def __init__(self, parts: list[Bag]) -> None:
        self._parts = parts
        self.storage = parts[0].storage
        self.duration_s = sum(part.duration_s for part in parts)
        topics: dict[Key, RawTopic] = {}
        for topic in (topic for part in parts for topic in part.topics):
            key = topic.key
            before = topics.get(key)
            number = topic.messages + (0 if before is None else before.messages)
            definition = topic.definition if before is None else before.definition
            topics[key] = RawTopic(*key, number, topic.encoding, definition)
        self.topics = tuple(topics.values())

    def messages(self, keys: Collection[Key]) -> Iterator[tuple[Key, int, bytes]]:
        for part in self._parts:
            yield from part.messages(keys)


def _fault(path: Path, error: Exception) -> BagError:
    """The fault of a recording, with its name and kind."""
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
