"""Reads what is left of an MCAP file that was cut off before its index was written.

Reads the file record by record and does not decode its messages.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path

import lz4.frame
from backports import zstd
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import MAGIC_SIZE, StreamReader, breakup_chunk
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from pipeline.recordings.rosbag.compression import MAX_BYTES
from pipeline.recordings.rosbag.protocol import BagTopic, Key

# Recorders write nearly in order of time. Sorting this many messages restores the order.
_WINDOW = 1000
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}


class RecoveredMcap:
    """An MCAP file that may lack its end, as an open bag: it yields the messages that are left."""

    storage = "mcap"

    def __init__(self, file: Path) -> None:
        """Read the file once to count its messages.

        Args:
            file: the .mcap file.
        """
        self._file = file
        self.fault = ""
        """The error that ended reading; empty if the file is complete."""
        keys: dict[int, BagTopic] = {}
        counts: Counter[Key] = Counter()
        first, last = 0, 0
        for channel, schema, message in self._records():
            topic = keys.get(channel.id)
            if topic is None:
                topic = keys[channel.id] = _bag_topic(channel, schema)
            first = min(first, message.log_time) if counts else message.log_time
            last = max(last, message.log_time)
            counts[topic.key] += 1
        self.duration_s = (last - first) * 1e-9
        self._keys = {identity: topic.key for identity, topic in keys.items()}
        unique = {topic.key: topic for topic in keys.values()}
        self.topics = tuple(
            BagTopic(*key, counts[key], topic.encoding, topic.definition)
            for key, topic in unique.items()
        )

    def messages(self, keys: Collection[Key]) -> Iterator[tuple[Key, int, bytes]]:
        """Messages of some topics in order of log time, except those over 1,000 messages late.

        Args:
            keys: which topics.
        """
        waiting: list[tuple[int, int, Key, bytes]] = []
        for number, (channel, _, message) in enumerate(self._records()):
            key = self._keys[channel.id]
            if key not in keys:
                continue
            heapq.heappush(waiting, (message.log_time, number, key, message.data))
            if len(waiting) > _WINDOW:
                time_ns, _, first, data = heapq.heappop(waiting)
                yield first, time_ns, data
        while waiting:
            time_ns, _, first, data = heapq.heappop(waiting)
            yield first, time_ns, data

    def _records(self) -> Iterator[tuple[Channel, Schema | None, Message]]:
        """Messages with their channels and schemas, up to the damage."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in self._all_records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message) and record.channel_id in channels:
                channel = channels[record.channel_id]
                yield channel, schemas.get(channel.schema_id), record

    def _all_records(self) -> Iterator[McapRecord]:
        """Every record that can be read, in the order of the file."""
        limit = self._file.stat().st_size
        with self._file.open("rb") as stream:
            # A damaged length must not allocate more memory than the file has bytes.
            reader = StreamReader(
                stream, emit_chunks=True, validate_crcs=True, record_size_limit=limit
            )
            records = reader.records
            while True:
                start = stream.tell()
                try:
                    record = next(records)
                    inner = breakup_chunk(record, True) if isinstance(record, Chunk) else [record]
                except StopIteration:
                    return
                except Exception as error:  # any damage ends the readable part
                    self.fault = f"{type(error).__name__}: {error}"
                    break
                yield from inner
            stream.seek(max(start, MAGIC_SIZE))
            yield from _incomplete_chunk(stream.read())


def _incomplete_chunk(data: bytes) -> Iterator[McapRecord]:
    """The records at the start of a chunk whose end is missing; none if the data are not a chunk.

    The layout is that of the MCAP specification, section Chunk (op=0x06): opcode and length; times,
    size and checksum; the name of the compression and the length of the records.
    """
    names_at = 1 + 8 + 8 + 8 + 8 + 4
    if data[:1] != bytes([Opcode.CHUNK]) or len(data) < names_at + 4:
        return
    if len(data) - 9 >= int.from_bytes(data[1:9], "little"):
        return  # the chunk is complete, so its content is damaged
    length = int.from_bytes(data[names_at : names_at + 4], "little")
    name, packed = data[names_at + 4 :][:length], data[names_at + 4 + length + 8 :]
    try:
        if name == b"zstd":
            packed = zstd.ZstdDecompressor().decompress(packed, max_length=MAX_BYTES)
        elif name == b"lz4":
            packed = lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=MAX_BYTES)
        records = StreamReader(
            BytesIO(packed), skip_magic=True, record_size_limit=len(packed)
        ).records
        while True:
            yield next(records)
    except Exception:  # the end of the readable part
        return


def _bag_topic(channel: Channel, schema: Schema | None) -> BagTopic:
    if schema is None:
        return BagTopic(channel.topic, "", 0, channel.message_encoding, None)
    form = _FORMATS.get(schema.encoding, MessageDefinitionFormat.NONE)
    text = schema.data.decode(errors="replace")
    definition = MessageDefinition(form, text)
    return BagTopic(channel.topic, schema.name, 0, channel.message_encoding, definition)
