"""Divides recordings into shards, each of which one process reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Smaller shards are read in less time than a process takes to start, about 0.1 s.
SHARD_BYTES = 8_000_000
_SHARD_FILES = 64


def make_shards(paths: Sequence[Path]) -> list[list[Path]]:
    """Group consecutive recordings, so that small ones share a process.

    Args:
        paths: recordings.
    """
    sizes = [_size(path) for path in paths]
    shards: list[list[Path]] = []
    room = 0
    for path, size in zip(paths, sizes, strict=True):
        if not shards or size > room or len(shards[-1]) == _SHARD_FILES:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(path)
        room -= size
    return shards


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
