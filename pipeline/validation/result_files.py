"""Reads and writes files of results, which workers hand over and later runs reuse.

A file is a line, then blocks: the lengths of a text and of its numbers, a checksum, the text
(JSON), the numbers (float64, little endian). The last block marks the end. No pickle.
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
from pipeline.obstacles import COLUMNS
from pipeline.recordings.recording import Source
from pipeline.validation.build_episode import Result
from pipeline.validation.findings import Finding

_MAGIC = b"results 2\n"
_LENGTHS = struct.Struct("<QQI")
_END = b'"end"'
_FIELDS = ("t", "joint_pos", "joint_vel", "joint_command", "ee_pose")


class ResultFileError(PipelineError):
    """A file of results is damaged."""


class ResultWriter:
    """Writes results batch by batch."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write the first line.

        Args:
            file: open for writing.
        """
        self._file = file
        file.write(_MAGIC)

    def add(self, results: Sequence[Result]) -> None:
        """Append a batch.

        Args:
            results: of one recording, in order.
        """
        episodes = [each.episode for each in results if each.episode is not None]
        origins: dict[tuple[Any, ...], int] = {}
        entries: list[Any] = []
        for result in results:
            findings = [[f.code, f.message, f.segment, f.value, f.limit] for f in result.findings]
            episode = result.episode
            if episode is None:
                entries.append([findings])
                continue
            origin = episode.provenance
            shared = (
                origin.topic, origin.segment, origin.joint_names, origin.derived, origin.salvaged,
            )  # fmt: skip
            number = origins.setdefault(shared, len(origins))
            entries.append(
                [
                    findings,
                    len(episode.t),
                    episode.content_hash,
                    origin.message,
                    origin.log_time_ns,
                    number,
                    len(episode.obstacles),
                ]
            )
        joints = episodes[0].joint_pos.shape[1] if episodes else 0
        text = json.dumps([joints, list(origins), entries]).encode()
        numbers = [
            np.concatenate([getattr(episode, name) for episode in episodes]).tobytes()
            for name in (_FIELDS if episodes else ())
        ]
        places = [part for each in episodes for part in (each.object_pos, each.object_axis)]
        numbers += [np.concatenate(places).tobytes()] if places else []
        numbers += [each.obstacles.tobytes() for each in episodes]
        self._block(text, b"".join(numbers))

    def close(self) -> None:
        """Write the block that marks the end."""
        self._block(_END, b"")

    def _block(self, text: bytes, numbers: bytes) -> None:
        check = zlib.crc32(numbers, zlib.crc32(text))
        self._file.write(_LENGTHS.pack(len(text), len(numbers), check))
        self._file.write(text)
        self._file.write(numbers)


def write_results(path: Path, batches: Iterable[list[Result]]) -> bool:
    """Write a file of results.

    Args:
        path: the file.
        batches: results of one recording.

    Returns:
        Whether the recording was read to its end: each result concerns a trajectory or a message.
    """
    whole = True
    with path.open("wb") as file:
        writer = ResultWriter(file)
        for batch in batches:
            whole = whole and concerns_messages(batch)
            writer.add(batch)
        writer.close()
    return whole


def concerns_messages(results: Iterable[Result]) -> bool:
    """Whether every finding concerns a message, none the recording as a whole.

    Args:
        results: of one recording.
    """
    return all(finding.message is not None for each in results for finding in each.findings)


def is_whole(file: IO[bytes]) -> bool:
    """Whether a file of results is complete and undamaged; rewinds the file.

    Args:
        file: open for reading.
    """
    try:
        for _ in _blocks(file):
            pass
    except ResultFileError:
        return False
    finally:
        file.seek(0)
    return True


def read_results(file: IO[bytes], source: Source) -> Iterator[list[Result]]:
    """The results, batch by batch.

    Args:
        file: open for reading.
        source: the recording.

    Raises:
        ResultFileError: the file is damaged.
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
        places = values[at : at + 6 * len(lengths)].reshape(-1, 2, 3)
        obstacle_ends = np.cumsum([entry[6] for entry in entries if len(entry) > 1], dtype=np.int64)
        obstacles = np.split(values[at + 6 * len(lengths) :].reshape(-1, COLUMNS), obstacle_ends)
        ends = np.cumsum(lengths).tolist()
        shared = [(o[0], o[1], tuple(o[2]), tuple(o[3]), o[4]) for o in origins]
        results, number, start = [], 0, 0
        for entry in entries:
            findings = tuple(Finding(f[0], source.path, *f[1:]) for f in entry[0])
            if len(entry) == 1:
                results.append(Result(None, findings))
                continue
            _, _, known, message, time_ns, origin, _ = entry
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
                obstacles=obstacles[number],
                known_hash=known,
            )  # fmt: skip
            results.append(Result(episode, findings))
            start, number = ends[number], number + 1
        yield results


def _blocks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    damaged = ResultFileError(f"{file.name}: is damaged; remove it and run ingest again")
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
