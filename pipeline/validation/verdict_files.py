"""Verdicts on disk: what a worker hands over, and what is kept for the next run.

A file is a line, then blocks: the lengths of a text and of its numbers, a checksum, the text
(JSON), the numbers (float64, little endian). The last block says that there are no more. No pickle.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.dataset.episode import Episode, Provenance
from pipeline.errors import PipelineError
from pipeline.recordings.recording import Source
from pipeline.validation.build_episode import Verdict
from pipeline.validation.findings import Finding

_MAGIC = b"verdicts 1\n"
_LENGTHS = struct.Struct("<QQI")
_END = b'"end"'
_FIELDS = ("t", "joint_pos", "joint_vel", "joint_command", "ee_pose")


class SpillError(PipelineError):
    """A file of verdicts is damaged."""


class SpillWriter:
    """Writes verdicts batch by batch."""

    def __init__(self, file: IO[bytes]) -> None:
        """Begin.

        Args:
            file: open for writing.
        """
        self._file = file
        file.write(_MAGIC)

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Append a batch.

        Args:
            verdicts: of one recording, in order.
        """
        episodes = [each.episode for each in verdicts if each.episode is not None]
        origins: dict[tuple[Any, ...], int] = {}
        entries: list[Any] = []
        for verdict in verdicts:
            said = [[f.code, f.message, f.segment, f.value, f.limit] for f in verdict.findings]
            episode = verdict.episode
            if episode is None:
                entries.append([said])
                continue
            of = episode.provenance
            shared = (of.topic, of.segment, of.joint_names, of.derived, of.salvaged)
            number = origins.setdefault(shared, len(origins))
            entries.append(
                [said, len(episode.t), episode.content_hash, of.message, of.log_time_ns, number]
            )
        joints = episodes[0].joint_pos.shape[1] if episodes else 0
        text = json.dumps([joints, list(origins), entries]).encode()
        numbers = [
            np.concatenate([getattr(episode, name) for episode in episodes]).tobytes()
            for name in (_FIELDS if episodes else ())
        ]
        places = [part for each in episodes for part in (each.object_pos, each.object_axis)]
        numbers += [np.concatenate(places).tobytes()] if places else []
        self._block(text, b"".join(numbers))

    def close(self) -> None:
        """Say that nothing follows."""
        self._block(_END, b"")

    def _block(self, text: bytes, numbers: bytes) -> None:
        check = zlib.crc32(numbers, zlib.crc32(text))
        self._file.write(_LENGTHS.pack(len(text), len(numbers), check))
        self._file.write(text)
        self._file.write(numbers)


def write_spill(path: Path, batches: Iterable[list[Verdict]]) -> bool:
    """Write a file of verdicts.

    Args:
        path: the file.
        batches: verdicts on one recording.

    Returns:
        Whether each concerns a trajectory or a message: the recording was read to its end.
    """
    whole = True
    with path.open("wb") as file:
        writer = SpillWriter(file)
        for batch in batches:
            whole = whole and concerns_messages(batch)
            writer.add(batch)
        writer.close()
    return whole


def concerns_messages(verdicts: Iterable[Verdict]) -> bool:
    """Whether no verdict concerns a recording as a whole, such as one that breaks off.

    Args:
        verdicts: of one recording.
    """
    return all(finding.message is not None for each in verdicts for finding in each.findings)


def is_whole(file: IO[bytes]) -> bool:
    """Whether a file of verdicts holds what was written, to its end; goes back to the start.

    Args:
        file: open for reading.
    """
    try:
        for _ in _blocks(file):
            pass
    except SpillError:
        return False
    finally:
        file.seek(0)
    return True


def read_spill(file: IO[bytes], source: Source) -> Iterator[list[Verdict]]:
    """The verdicts, batch by batch.

    Args:
        file: open for reading.
        source: the recording that they are said of.

    Raises:
        SpillError: the file is damaged.
    """
    for text, numbers in _blocks(file):
        joints, origins, entries = json.loads(text)
        values = np.frombuffer(numbers, "<f8")
        lengths = np.array([entry[1] for entry in entries if len(entry) > 1], np.int64)
        total, at, fields = int(lengths.sum()), 0, {}
        for name, width in zip(_FIELDS, (1, joints, joints, joints, 7), strict=True):
            part = values[at : at + total * width]
            fields[name] = part if name == "t" else part.reshape(total, width)
            at += total * width
        places = values[at:].reshape(-1, 2, 3)
        ends = np.cumsum(lengths).tolist()
        shared = [(o[0], o[1], tuple(o[2]), tuple(o[3]), o[4]) for o in origins]
        verdicts, number, start = [], 0, 0
        for entry in entries:
            said = tuple(Finding(f[0], source.path, *f[1:]) for f in entry[0])
            if len(entry) == 1:
                verdicts.append(Verdict(None, said))
                continue
            _, _, known, message, time_ns, origin = entry
            topic, segment, names, derived, salvaged = shared[origin]
            rows = slice(start, ends[number])
            episode = Episode(
                **{name: part[rows] for name, part in fields.items()},
                object_pos=places[number, 0],
                object_axis=places[number, 1],
                provenance=Provenance(
                    source.path, source.sha256, source.storage, topic, message, segment, time_ns,
                    names, derived, salvaged,
                ),
                known_hash=known,
            )  # fmt: skip
            verdicts.append(Verdict(episode, said))
            start, number = ends[number], number + 1
        yield verdicts


def _blocks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    damaged = SpillError(f"{file.name}: is damaged; remove it and run ingest again")
    if file.read(len(_MAGIC)) != _MAGIC:
        raise damaged
    while True:
        head = file.read(_LENGTHS.size)
        if len(head) < _LENGTHS.size:
            raise damaged
        text_length, number_length, check = _LENGTHS.unpack(head)
        # A length that is damaged would ask for any amount of memory.
        if text_length + number_length > os.fstat(file.fileno()).st_size:
            raise damaged
        text, numbers = file.read(text_length), file.read(number_length)
        if zlib.crc32(numbers, zlib.crc32(text)) != check:
            raise damaged
        if text == _END:
            return
        yield text, numbers
