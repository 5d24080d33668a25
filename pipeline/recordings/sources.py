"""Finds recordings on disk and reads each as candidates, whatever its format.

Knows which files make a recording, and validates none of its trajectories.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.hashing import sha256_file
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.recordings.formats.diffusion_policy_zarr import is_zarr, read_zarr
from pipeline.recordings.formats.json_yaml import SUFFIXES, may_hold_trajectory, read_json_yaml
from pipeline.recordings.formats.lerobot import is_lerobot, read_lerobot
from pipeline.recordings.formats.npz import read_npz
from pipeline.recordings.frames import resolve_frames
from pipeline.recordings.joint_topics import read_topics
from pipeline.recordings.recording import (
    Candidate,
    ObjectPose,
    RecordingError,
    Source,
    Transforms,
    Unreadable,
)
from pipeline.recordings.rosbag.files import (
    METADATA,
    BagError,
    is_split,
    is_storage,
    storage_of,
)
from pipeline.recordings.rosbag.parsers import is_static
from pipeline.recordings.rosbag.protocol import Bag
from pipeline.recordings.rosbag.reader import is_whole, open_bag
from pipeline.recordings.rosbag.stream import read_messages
from pipeline.recordings.segment import SegmentRules, segment_motions
from pipeline.recordings.synchronize import synchronize
from pipeline.recordings.topics import Reading

logger = logging.getLogger(__name__)

EXPECTED = (
    "a rosbag2 folder, a .mcap, .db3 or ROS 1 .bag file, traj_*.npz, a .json or .yaml file of a "
    "trajectory, a zarr, a LeRobot data set, or a folder of these"
)


class SourceError(PipelineError):
    """A path does not exist or holds no recording."""


@dataclass(frozen=True)
class Broken:
    """The reason why a recording cannot be read, or not to its end."""

    code: str
    """BAG_EMPTY, BAG_TRUNCATED, BAG_UNREADABLE, NPZ_UNREADABLE or FILE_UNREADABLE."""
    value: str


def find_recordings(paths: Path | Iterable[Path]) -> list[Path]:
    """Find the recordings under paths, each once: path by path, in the order of their names.

    Args:
        paths: files, folders that are a recording, or folders to search.

    Raises:
        SourceError: a path does not exist or holds no recording.
    """
    found: dict[Path, Path] = {}
    for path in [paths] if isinstance(paths, Path) else paths:
        for recording in _find(path):
            found.setdefault(recording.resolve(), recording)
    if not found:
        raise SourceError(f"ingest.source names nothing; expected {EXPECTED}")
    return list(found.values())


def _find(path: Path) -> list[Path]:
    if not path.exists():
        raise SourceError(
            f"{path}: no such recording; expected {EXPECTED}: set ingest.source or --source, or "
            "run collect"
        )
    if path.is_file():
        if not is_storage(path) and path.suffix not in {".npz", *SUFFIXES}:
            raise SourceError(f"{path}: unknown kind of file; expected {EXPECTED}")
        return [path]
    found = _search(path, set())
    if not found:
        raise SourceError(f"{path}: holds no recording; expected {EXPECTED}")
    return found


def _search(folder: Path, seen: set[Path]) -> list[Path]:
    real = folder.resolve()
    if real in seen:  # a link to a folder above
        return []
    seen.add(real)
    if (folder / METADATA).is_file() or is_zarr(folder) or is_lerobot(folder) or is_split(folder):
        return [folder]
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            found += _search(entry, seen)
        elif entry.is_file() and (
            is_storage(entry) or entry.match("traj_*.npz") or may_hold_trajectory(entry)
        ):
            found.append(entry)
    return found


def describe_source(path: Path, *, salvage: bool = False) -> Source:
    """Name, hash and storage of a recording.

    Args:
        path: one of `find_recordings`.
        salvage: whether to read a bag to its end to learn if it is damaged.
    """
    if path.is_file():
        digest = sha256_file(path)
    else:
        hashed = hashlib.sha256()
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            name = file.relative_to(path).as_posix()
            hashed.update(f"{name}\0{sha256_file(file)}\n".encode())
        digest = hashed.hexdigest()
    kind = kind_of(path)
    salvaged = salvage and kind == "bag" and not is_whole(path)
    return Source(path.as_posix(), digest, storage_of(path) if kind == "bag" else kind, salvaged)


def kind_of(path: Path) -> str:
    """The kind of a recording: npz, dump (JSON or YAML), zarr, lerobot or bag.

    Args:
        path: one of `find_recordings`.
    """
    if path.is_file():
        if path.suffix == ".npz":
            return "npz"
        return "dump" if path.suffix in SUFFIXES else "bag"
    if is_zarr(path):
        return "zarr"
    return "lerobot" if is_lerobot(path) else "bag"


def read_candidates(
    path: Path, params: Params, *, salvage: bool = False
) -> Iterator[Candidate | Unreadable | Broken]:
    """Read the motions of a recording; of a damaged one, those before the damage.

    Args:
        path: one of `find_recordings`.
        params: topics, joints, name of the object.
        salvage: whether to read what is left of a damaged recording.

    Raises:
        DefinitionError: `ingest.msg_path` holds a definition that cannot be read.
    """
    fixed = _fixed_pose(params)
    try:
        for item in _read(path, params, salvage=salvage):
            if isinstance(item, Candidate) and item.object_pose is None and fixed is not None:
                derived = (*item.derived, "object pose from ingest.object_pose")
                yield replace(item, object_pose=fixed, derived=derived)
            else:
                yield item
    except RecordingError as error:
        yield Broken(error.code, str(error))


def _fixed_pose(params: Params) -> ObjectPose | None:
    pose = params.ingest.object_pose
    if pose is None:
        return None
    frame = params.ingest.object_frames[0]
    return ObjectPose(0, frame, np.array(pose[:3]), np.array(pose[3:]), ageless=True)


def _read(path: Path, params: Params, *, salvage: bool) -> Iterator[Candidate | Unreadable]:
    frame, name = params.ingest.object_frames[0], params.task.object
    match kind_of(path):
        case "npz":
            yield read_npz(path, params.robot.joints, name, frame)
        case "dump":
            yield from read_json_yaml(path, name, frame)
        case "zarr":
            layout = Layout.from_params(params)
            yield from read_zarr(path, layout, params.ingest.frame_rate_hz, frame)
        case "lerobot":
            yield from read_lerobot(path, Layout.from_params(params), frame)
        case _:
            with open_bag(path, salvage=salvage) as bag:
                yield from _read_bag(path, bag, params)


def _read_bag(path: Path, bag: Bag, params: Params) -> Iterator[Candidate | Unreadable]:
    rules, joints = params.ingest, params.robot.joints
    reading = read_topics(bag, params)
    for use in reading.uses:
        if use.repeats is not None:
            logger.warning("%s: %s is %s", path, use.topic, use.note)
    messages = resolve_frames(
        read_messages(bag, reading, rules.msg_path), rules.object_frames, rules.object_frame,
        _static_transforms(bag, reading),
        (params.task.object,) if rules.obstacle_ignore is None else rules.obstacle_ignore,
    )  # fmt: skip
    if reading.mode is None:
        yield from (message for message in messages if isinstance(message, Unreadable))
        held = ", ".join(f"{topic.topic} ({topic.msgtype})" for topic in bag.topics)
        raise BagError(
            f"{path}: holds no plans, controller states or joint states that ingest could read "
            f"(ingest.episodes_from {rules.episodes_from}); it holds {held or 'nothing'}: name the "
            "topic in ingest.plan_topic or ingest.joint_topic",
            "BAG_EMPTY",
        )
    if reading.mode == "plans":
        yield from synchronize(messages, joints, rules.settle_s, rules.joint_prefix)
    else:
        messages_of = {topic.key: topic.messages for topic in bag.topics}
        marked = any(
            use.role == "marks" and messages_of[use.topic, use.msgtype] for use in reading.uses
        )
        segment_rules = SegmentRules(rules.gap_s, rules.min_motion_rad, marked)
        yield from segment_motions(messages, joints, rules.joint_prefix, segment_rules)


def _static_transforms(bag: Bag, reading: Reading) -> list[Transforms]:
    """The static transforms of the whole recording, which hold before they were recorded too."""
    found: list[Transforms] = []
    with suppress(BagError):  # reading the motions reports the error
        for use in reading.uses:
            if use.role == "transforms" and is_static(use.topic):
                messages = read_messages(bag, reading.alone(use))
                found += [each for each in messages if isinstance(each, Transforms)]
    return found
