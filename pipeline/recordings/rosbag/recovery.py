"""Reads what is left of an MCAP file that was cut off before its index was written.

Owns the walk through the file record by record; knows nothing of what the messages say.
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

from pipeline.recordings.rosbag.protocol import Key, RawTopic

# Recorders write nearly in order of time; this many messages are held back to mend the rest.
_WINDOW = 1000
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}


class SalvagedMcap:
    """An MCAP file without its end, with the face of any open bag; it gives what it has."""

    storage = "mcap"

    def __init__(self, file: Path) -> None:
        """Walk through the file once to learn what it holds.

        Args:
            file: the .mcap file.
        """
        self._file = file
        self.fault = ""
        """What ended the walk; empty where the file is whole."""
        keys: dict[int, RawTopic] = {}
        counts: Counter[Key] = Counter()
        first, last = 0, 0
        for channel, schema, message in self._records():
            topic = keys.get(channel.id)
            if topic is None:
                topic = keys[channel.id] = _raw_topic(channel, schema)
            first = min(first, message.log_time) if counts else message.log_time
            last = max(last, message.log_time)
            counts[topic.key] += 1
        self.duration_s = (last - first) * 1e-9
        self._keys = {identity: topic.key for identity, topic in keys.items()}
        unique = {topic.key: topic for topic in keys.values()}
        self.topics = tuple(
            RawTopic(*key, counts[key], topic.encoding, topic.definition)
            for key, topic in unique.items()
        )

    def messages(self, keys: Collection[Key]) -> Iterator[tuple[Key, int, bytes]]:
        """Messages of some topics, in order of log time but for those far out of it.

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
        """Messages with their channels and schemas, up to the place where the file breaks."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in self._walk():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message) and record.channel_id in channels:
                channel = channels[record.channel_id]
                yield channel, schemas.get(channel.schema_id), record

    def _walk(self) -> Iterator[McapRecord]:
        """Every record that can be read, in the order of the file."""
        limit = self._file.stat().st_size
        with self._file.open("rb") as stream:
            # A length that is damaged must not ask for more memory than the file has bytes.
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
                except Exception as error:  # any fault of the file ends what can be read of it
                    self.fault = f"{type(error).__name__}: {error}"
                    break
                yield from inner
            stream.seek(max(start, MAGIC_SIZE))
            yield from _torn_chunk(stream.read())


def _torn_chunk(data: bytes) -> Iterator[McapRecord]:
    """The records at the start of a chunk whose end is missing; none where it is no chunk.

    The layout is that of the MCAP specification, section Chunk (op=0x06): opcode and length; times,
    size and checksum; the name of the compression and the length of the records.
    """
    names_at = 1 + 8 + 8 + 8 + 8 + 4
    if data[:1] != bytes([Opcode.CHUNK]) or len(data) < names_at + 4:
        return
    if len(data) - 9 >= int.from_bytes(data[1:9], "little"):
        return  # nothing is missing, so what it holds is wrong
    length = int.from_bytes(data[names_at : names_at + 4], "little")
    name, packed = data[names_at + 4 :][:length], data[names_at + 4 + length + 8 :]
    try:
        if name == b"zstd":
            packed = zstd.ZstdDecompressor().decompress(packed)
        elif name == b"lz4":
            packed = lz4.frame.LZ4FrameDecompressor().decompress(packed)
        records = StreamReader(
            BytesIO(packed), skip_magic=True, record_size_limit=len(packed)
        ).records
        while True:
            yield next(records)
    except Exception:  # the end of what is left, wherever it lies
        return


def _raw_topic(channel: Channel, schema: Schema | None) -> RawTopic:
    if schema is None:
        return RawTopic(channel.topic, "", 0, channel.message_encoding, None)
    form = _FORMATS.get(schema.encoding, MessageDefinitionFormat.NONE)
    text = schema.data.decode(errors="replace")
    definition = MessageDefinition(form, text)
    return RawTopic(channel.topic, schema.name, 0, channel.message_encoding, definition)
