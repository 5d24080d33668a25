"""Verdicts of earlier runs by what decides them, so that no unchanged recording is read twice.

A file a recording under .state/ingest, named by a hash of its content, of the parameters that judge
it, of the arm and of the code. Files appear whole and are never changed, so that runs at the same
time cannot spoil each other's; the longest unused go first.
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
from pipeline.validation.build_episode import Arm, Verdict
from pipeline.validation.validate import harvest
from pipeline.validation.verdict_files import (
    SpillWriter,
    concerns_messages,
    is_whole,
    read_spill,
    write_spill,
)

_SUFFIX = ".verdicts"
# Parameters that say how ingest runs, or what is made of the verdicts, not what they are.
_IDLE = {
    "source", "allow_bad_files", "salvage", "max_reject_fraction", "mode_neighbours",
    "mode_gap_rad", "workers", "engine", "cache_gb",
}  # fmt: skip


@dataclass(frozen=True)
class Shelf:
    """Where verdicts are kept."""

    folder: Path
    basis: str
    """Hash of all that decides verdicts but the recording itself."""
    keeps: bool
    """Whether verdicts outlive the run."""

    def place(self, source: Source) -> Path:
        """Where the verdicts on a recording stand, if they do.

        Args:
            source: the recording.
        """
        # The storage and the suffix say how the bytes are read.
        parts = (self.basis, source.sha256, source.storage, source.salvaged, source.file.suffix)
        return self.folder / (hashlib.sha256(repr(parts).encode()).hexdigest()[:32] + _SUFFIX)


def make_shelf(folder: Path, params: Params, arm: Arm, arm_hash: str) -> Shelf:
    """The shelf of a run.

    Args:
        folder: where its files lie.
        params: all parameters.
        arm: joints and limits.
        arm_hash: of what else is known of the arm, such as its URDF.
    """
    rules = params.ingest
    decisive = {
        key: value for key, value in rules.model_dump(mode="json").items() if key not in _IDLE
    }
    own = None if rules.msg_path is None else folder_hash(rules.msg_path)
    robot, task = (section.model_dump(mode="json") for section in (params.robot, params.task))
    arm_parts = [arm.joints, arm.lower.tolist(), arm.upper.tolist(), arm_hash]
    libraries = versions("numpy", "rosbags", "mcap", "zarr", "pyarrow")
    parts = [decisive, own, robot, task, arm_parts, libraries, code_hash()]
    basis = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    return Shelf(folder, basis, rules.cache_gb > 0)


def fill(shelf: Shelf, path: Path, arm: Arm, params: Params) -> tuple[Source, Path]:
    """Make sure that the verdicts on a recording stand in a file: what a worker does.

    Args:
        shelf: where.
        path: the recording.
        arm: joints, limits, forward kinematics.
        params: all parameters.

    Returns:
        The recording and the file. A file that does not end in the shelf's suffix is the caller's
        to remove: it must not serve another run.
    """
    source = describe_source(path, salvage=params.ingest.salvage)
    place = shelf.place(source)
    if _serves(place):
        return source, place
    handle, name = tempfile.mkstemp(dir=shelf.folder, prefix=".partial-")
    os.close(handle)
    partial = Path(name)
    try:
        whole = write_spill(partial, harvest(source, arm, params))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # What breaks off is read anew: its verdict names the file, and somebody may mend it.
    if not whole or not shelf.keeps:
        return source, partial
    partial.replace(place)
    return source, place


def fill_shard(
    shelf: Shelf, shards: list[list[Path]], arm: Arm, params: Params, number: int
) -> list[tuple[Source, Path]]:
    """`fill` for each recording of a shard; nothing for a number behind the last.

    Args:
        shelf: where.
        shards: recordings.
        arm: joints, limits, forward kinematics.
        params: all parameters.
        number: which shard.
    """
    paths = shards[number] if number < len(shards) else []
    return [fill(shelf, path, arm, params) for path in paths]


def take(shelf: Shelf, source: Source, file: Path, arm: Arm, params: Params) -> Iterator[
    list[Verdict]
]:  # fmt: skip
    """Verdicts out of a file that `fill` made; read anew should it be gone or damaged.

    Args:
        shelf: where.
        source: the recording.
        file: as `fill` returned it.
        arm: joints, limits, forward kinematics.
        params: all parameters.
    """
    try:
        with file.open("rb") as opened:
            if file.suffix != _SUFFIX:
                file.unlink()
            if is_whole(opened):
                yield from read_spill(opened, source)
                return
    except FileNotFoundError:  # another run made room meanwhile
        pass
    yield from harvest(source, arm, params)


def pass_on(shelf: Shelf, path: Path, arm: Arm, params: Params) -> tuple[
    Source, Iterator[list[Verdict]]
]:  # fmt: skip
    """The verdicts on a recording as they come, kept on the way: what one process does alone.

    Args:
        shelf: where.
        path: the recording.
        arm: joints, limits, forward kinematics.
        params: all parameters.
    """
    source = describe_source(path, salvage=params.ingest.salvage)
    place = shelf.place(source)
    if _serves(place):
        return source, take(shelf, source, place, arm, params)
    if not shelf.keeps:
        return source, harvest(source, arm, params)
    return source, _kept(shelf, place, harvest(source, arm, params))


def _kept(shelf: Shelf, place: Path, batches: Iterator[list[Verdict]]) -> Iterator[list[Verdict]]:
    whole = True
    with tempfile.NamedTemporaryFile(dir=shelf.folder, prefix=".partial-", delete=False) as file:
        partial = Path(file.name)
        try:
            writer = SpillWriter(file)
            for batch in batches:
                whole = whole and concerns_messages(batch)
                writer.add(batch)
                yield batch
            writer.close()
            file.close()
            if whole:
                partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)


def _serves(place: Path) -> bool:
    """Whether a whole file stands there; marks it as used."""
    try:
        with place.open("rb") as file:
            if not is_whole(file):
                return False
        os.utime(place)
    except FileNotFoundError:
        return False
    return True


def make_room(folder: Path, limit_gb: float) -> None:
    """Remove the verdicts that were not used for longest, and leftovers of killed runs.

    Args:
        folder: of a shelf.
        limit_gb: what may stay, GB.
    """
    files = []
    for path in folder.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:  # another run was faster
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
"""A file that nobody has written to for so long is a leftover, s."""
