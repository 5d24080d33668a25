"""Caches the results of recordings, so that no unchanged recording is read twice.

Each recording has a file under .state/ingest, named by a hash of the recording's content, the
parameters, the arm and the code. Files appear whole and never change, so concurrent runs do not
disturb each other. The least recently used files are removed first.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.hashing import code_hash, folder_hash
from pipeline.params import Params
from pipeline.recordings.recording import Source
from pipeline.recordings.sources import describe_source
from pipeline.run import versions
from pipeline.validation.build_episode import Arm, Result
from pipeline.validation.result_files import (
    ResultWriter,
    concerns_messages,
    is_whole,
    read_results,
    write_results,
)
from pipeline.validation.validate import validate_recording

_SUFFIX = ".results"
# Parameters that do not change the results, only how ingest runs and what it does with them.
_WITHOUT_EFFECT = {
    "source", "allow_bad_files", "salvage", "max_reject_fraction", "mode_neighbours",
    "mode_gap_rad", "workers", "engine", "cache_gb",
}  # fmt: skip


@dataclass(frozen=True)
class ResultCache:
    """A folder with the results of recordings."""

    folder: Path
    basis: str
    """Hash of everything that determines the results, except the recording itself."""
    persistent: bool
    """Whether the results are kept for later runs."""

    def path(self, source: Source) -> Path:
        """The file of a recording's results, which need not exist.

        Args:
            source: the recording.
        """
        # The storage and the suffix say how the bytes are read.
        parts = (self.basis, source.sha256, source.storage, source.salvaged, source.file.suffix)
        return self.folder / (hashlib.sha256(repr(parts).encode()).hexdigest()[:32] + _SUFFIX)


def open_cache(folder: Path, params: Params, arm: Arm, arm_hash: str) -> ResultCache:
    """Create the folder of a run's cache if need be.

    Args:
        folder: of the cache's files.
        params: all parameters.
        arm: joints and limits.
        arm_hash: hash of everything else that describes the arm, such as its URDF.
    """
    rules = params.ingest
    decisive = rules.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    own = None if rules.msg_path is None else folder_hash(rules.msg_path)
    robot, task = (section.model_dump(mode="json") for section in (params.robot, params.task))
    arm_parts = [arm.joints, arm.lower.tolist(), arm.upper.tolist(), arm_hash]
    libraries = versions("numpy", "scipy", "rosbags", "mcap", "zarr", "pyarrow")
    parts = [decisive, own, robot, task, arm_parts, libraries, code_hash()]
    basis = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    return ResultCache(folder, basis, rules.cache_gb > 0)


def cache_results(cache: ResultCache, path: Path, arm: Arm, params: Params) -> tuple[Source, Path]:
    """Write the results of a recording to a file unless they are cached. Runs in a worker.

    Args:
        cache: of this run.
        path: the recording.
        arm: joints, limits, forward kinematics.
        params: all parameters.

    Returns:
        The recording and the file. The caller removes a file without the cache's suffix: no other
        run may use it.
    """
    source = describe_source(path, salvage=params.ingest.salvage)
    cached = cache.path(source)
    if _is_usable(cached):
        return source, cached
    handle, name = tempfile.mkstemp(dir=cache.folder, prefix=".partial-")
    os.close(handle)
    partial = Path(name)
    try:
        whole = write_results(partial, validate_recording(source, arm, params))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # A damaged recording is read again in each run: its result names the file.
    if not whole or not cache.persistent:
        return source, partial
    partial.replace(cached)
    return source, cached


def cache_shard(
    cache: ResultCache, shards: list[list[Path]], arm: Arm, params: Params, number: int
) -> list[tuple[Source, Path]]:
    """`cache_results` for each recording of a shard; nothing for a number past the last.

    Args:
        cache: of this run.
        shards: recordings.
        arm: joints, limits, forward kinematics.
        params: all parameters.
        number: which shard.
    """
    paths = shards[number] if number < len(shards) else []
    return [cache_results(cache, path, arm, params) for path in paths]


def load_results(
    cache: ResultCache, source: Source, file: Path, arm: Arm, params: Params
) -> Iterator[list[Result]]:
    """The results in a file of `cache_results`; reads the recording again if it is gone or damaged.

    Args:
        cache: of this run.
        source: the recording.
        file: as `cache_results` returned it.
        arm: joints, limits, forward kinematics.
        params: all parameters.
    """
    try:
        with file.open("rb") as opened:
            if file.suffix != _SUFFIX:
                file.unlink()
            if is_whole(opened):
                yield from read_results(opened, source)
                return
    except FileNotFoundError:  # removed by another run
        pass
    yield from validate_recording(source, arm, params)


def stream_results(
    cache: ResultCache, path: Path, arm: Arm, params: Params
) -> tuple[Source, Iterator[list[Result]]]:
    """The results of a recording as they are made, cached on the way. For a single process.

    Args:
        cache: of this run.
        path: the recording.
        arm: joints, limits, forward kinematics.
        params: all parameters.
    """
    source = describe_source(path, salvage=params.ingest.salvage)
    cached = cache.path(source)
    if _is_usable(cached):
        return source, load_results(cache, source, cached, arm, params)
    if not cache.persistent:
        return source, validate_recording(source, arm, params)
    return source, _cached(cache, cached, validate_recording(source, arm, params))


def _cached(
    cache: ResultCache, path: Path, batches: Iterator[list[Result]]
) -> Iterator[list[Result]]:
    """The batches; writes them to a file on the way."""
    whole = True
    with tempfile.NamedTemporaryFile(dir=cache.folder, prefix=".partial-", delete=False) as file:
        partial = Path(file.name)
        try:
            writer = ResultWriter(file)
            for batch in batches:
                whole = whole and concerns_messages(batch)
                writer.add(batch)
                yield batch
            writer.close()
            file.close()
            if whole:
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _is_usable(path: Path) -> bool:
    """Whether the file exists and is complete; marks it as used."""
    try:
        with path.open("rb") as file:
            if not is_whole(file):
                return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def remove_oldest(folder: Path, limit_gb: float) -> None:
    """Remove the least recently used results, and what killed runs left behind.

    Args:
        folder: of a cache.
        limit_gb: size of the files that may stay, GB.
    """
    files = []
    for path in folder.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:  # removed by another run
            continue
        files.append((status.st_mtime, status.st_size, path))
    files.sort(reverse=True)
    room = limit_gb * 1e9
    newest = files[0][0] if files else 0.0
    for used, size, path in files:
        room -= size
        stale = path.suffix != _SUFFIX and newest - used > _STALE_S
        if stale or (path.suffix == _SUFFIX and room < 0):
            path.unlink(missing_ok=True)


_STALE_S = 86_400.0
"""Age at which an unfinished file is a leftover, s."""
