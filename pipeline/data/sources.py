"""Finds recordings on disk and reads each as candidates, whatever its form.

Knows which files make a recording; judges none of its trajectories.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.bag import STORAGES, BagError, Topics, read_events, storage_of, summarize_bag
from pipeline.data.collate import collate
from pipeline.data.messages import DISPLAY_TRAJECTORY
from pipeline.data.npz import NpzError, read_npz
from pipeline.data.recording import Candidate, Source, Unreadable
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.run import sha256_file


class SourceError(PipelineError):
    """There is no recording where one was expected."""


@dataclass(frozen=True)
class Broken:
    """A recording that cannot be read, or not to its end."""

    code: str
    """BAG_EMPTY, BAG_TRUNCATED, BAG_UNREADABLE or NPZ_UNREADABLE."""
    value: str


def find_recordings(path: Path) -> list[Path]:
    """Recordings under a path, in the order of their names.

    Args:
        path: a rosbag2 folder, a .mcap, .db3 or .npz file, or a folder of such.

    Raises:
        SourceError: the path is missing, or holds no recording.
    """
    if not path.exists():
        raise SourceError(
            f"{path}: no such recording; expected a rosbag2 folder, a .mcap, .db3 or .npz file or "
            "a folder of them: set ingest.source or --source, or run collect"
        )
    if path.is_file():
        if path.suffix not in {*STORAGES, ".npz"}:
            raise SourceError(f"{path}: unknown kind of file; expected .mcap, .db3 or .npz")
        return [path]
    found = _search(path)
    if not found:
        raise SourceError(f"{path}: holds no metadata.yaml, .mcap, .db3 or traj_*.npz")
    return found


def _search(folder: Path) -> list[Path]:
    if (folder / "metadata.yaml").is_file():
        return [folder]
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            found += _search(entry)
        elif entry.suffix in STORAGES or entry.match("traj_*.npz"):
            found.append(entry)
    return found


def describe_source(path: Path) -> Source:
    """Name, hash and storage of a recording.

    Args:
        path: one of `find_recordings`.
    """
    if path.suffix == ".npz":
        return Source(path.as_posix(), sha256_file(path), "npz")
    if path.is_file():
        return Source(path.as_posix(), sha256_file(path), storage_of(path))
    digest = hashlib.sha256()
    for file in sorted(file for file in path.iterdir() if file.is_file()):
        digest.update(f"{file.name}\0{sha256_file(file)}\n".encode())
    return Source(path.as_posix(), digest.hexdigest(), storage_of(path))


def count_plans(path: Path) -> int:
    """About how many plans a recording holds, for a progress bar; 0 where it cannot be read.

    Args:
        path: one of `find_recordings`.
    """
    if path.suffix == ".npz":
        return 1
    try:
        topics = summarize_bag(path).topics
    except BagError:
        return 0
    return sum(topic.messages for topic in topics if topic.msgtype == DISPLAY_TRAJECTORY)


def read_candidates(path: Path, params: Params) -> Iterator[Candidate | Unreadable | Broken]:
    """What a recording says, plan by plan; a broken recording gives what stands before the break.

    Args:
        path: one of `find_recordings`.
        params: topics, joints, name of the object.
    """
    joints, rules = params.robot.joints, params.ingest
    try:
        if path.suffix == ".npz":
            yield read_npz(path, joints, params.task.object, rules.object_frames[0])
        else:
            topics = Topics(rules.plan_topic, rules.joint_topic, rules.object_topic)
            yield from collate(read_events(path, topics), joints, rules.settle_s)
    except BagError as error:
        yield Broken(error.code, str(error))
    except NpzError as error:
        yield Broken("NPZ_UNREADABLE", str(error))
