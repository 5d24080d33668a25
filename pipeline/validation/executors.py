"""Divides recordings into shards, and runs work on shards with Ray.

Does not know what the work is. Ray is an optional dependency, imported only when it is needed.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import PipelineError

Result = TypeVar("Result")

# Smaller shards are read in less time than a process takes to start, about 0.1 s.
SHARD_BYTES = 8_000_000
_SHARD_FILES = 64


class ExecutorError(PipelineError):
    """The executor of `ingest.engine` is not installed."""


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


def in_ray(work: Callable[[int], Result], number: int) -> Iterator[Result]:
    """Yield work(0) … work(number - 1), in order, computed by Ray's workers.

    A running cluster is used if Ray finds it (RAY_ADDRESS); otherwise one is started on this
    machine. All machines of a cluster must see the recordings and the folder `.state` at the same
    paths.

    Args:
        work: picklable.
        number: how many.

    Raises:
        ExecutorError: Ray is not installed.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise ExecutorError(
            "ingest.engine is ray, but Ray is not installed; expected the extra: pip install ray, "
            "or set ingest.engine to process"
        ) from error
    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False)
    try:
        remote = ray.remote(_call)
        ahead = max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))
        waiting: deque[Any] = deque()
        for index in range(number):
            waiting.append(remote.remote(work, index))
            if len(waiting) >= ahead:
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())
    finally:
        if own:
            ray.shutdown()


def _call(work: Callable[[int], Result], index: int) -> Result:
    return work(index)
