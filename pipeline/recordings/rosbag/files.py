"""Finds the files of a rosbag2 or ROS 1 recording and their order.

metadata.yaml only gives their names and order, so an old, stale or missing one loses nothing.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import yaml

from pipeline.recordings.recording import RecordingError

STORAGES = {".mcap": "mcap", ".db3": "sqlite3", ".bag": "ros1"}
METADATA = "metadata.yaml"

COMPRESSED_SUFFIX = ".zstd"
_SPLIT = re.compile(r"(?P<name>.+)_(?P<number>\d+)")


class BagError(RecordingError):
    """A bag cannot be read."""

    def __init__(self, message: str, code: str = "BAG_UNREADABLE") -> None:
        """Say what happened.

        Args:
            message: file, value, what was expected, what to do.
            code: BAG_UNREADABLE, BAG_TRUNCATED or BAG_EMPTY.
        """
        super().__init__(message)
        self.code = code


def is_storage(file: Path) -> bool:
    """Whether a file has the suffix of a bag: .mcap, .db3, .bag, or one of these and .zstd."""
    return storage_suffix(file) is not None


def storage_suffix(file: Path) -> str | None:
    """The suffix that tells a file's storage; None if the file is not a bag."""
    suffix = Path(file.stem).suffix if file.suffix == COMPRESSED_SUFFIX else file.suffix
    return suffix if suffix in STORAGES else None


def storage_of(path: Path) -> str:
    """The storage of a recording: mcap, sqlite3 or ros1.

    Args:
        path: a rosbag2 folder, or a bare file.
    """
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        suffix = storage_suffix(file)
        if suffix is not None:
            return STORAGES[suffix]
    return "unknown"


def is_split(folder: Path) -> bool:
    """Whether the bags in a folder are parts of one recording.

    rosbag2 names the parts like their folder, with _0, _1 and so on. Bags with other numbers are
    separate recordings.

    Args:
        folder: a folder without metadata.yaml.
    """
    stems = [file.name.partition(".")[0] for file in folder.iterdir() if is_storage(file)]
    parts = [_SPLIT.fullmatch(stem) for stem in stems]
    names = {part["name"] for part in parts if part is not None}
    # The folder may be given as "." or by a link of another name.
    known = {folder.name, folder.absolute().name, folder.resolve().name}
    return len(stems) > 1 and len(names) == 1 and names <= known and None not in parts


def storage_files(path: Path, *, salvage: bool = False) -> list[Path]:
    """The files of a recording, in order.

    Args:
        path: a rosbag2 folder, or a bare file.
        salvage: read the files that are left if some that metadata.yaml names are missing.

    Raises:
        BagError: there are no files, or fewer than metadata.yaml names.
    """
    if not path.is_dir():
        return [path]
    held = sorted((file for file in path.iterdir() if is_storage(file)), key=_split_order)
    named = _named_files(path / METADATA)
    missing = [name for name in named if not (path / name).is_file()]
    if missing and len(held) < len(named) and not salvage:
        raise BagError(
            f"{path}: {METADATA} names {', '.join(missing)}, which is not there; expected "
            f"{len(named)} files: copy the recording again, or set ingest.salvage to read the rest"
        )
    if not held:
        raise BagError(
            f"{path}: holds no .mcap or .db3 file; expected the recording beside its {METADATA}: "
            "copy it again"
        )
    # A list of other files does not give the order of these.
    order = {} if missing else {name: index for index, name in enumerate(named)}
    return sorted(held, key=lambda file: order.get(file.name, len(order)))


def _split_order(file: Path) -> tuple[str, int]:
    """Sorts the parts of a split recording by number, so that 10 follows 9."""
    part = _SPLIT.fullmatch(file.name.partition(".")[0])
    return (file.name, 0) if part is None else (part["name"], int(part["number"]))


def _named_files(metadata: Path) -> list[str]:
    """Names of the files that metadata.yaml lists, without their folders."""
    try:
        loaded = yaml.load(metadata.read_bytes(), Loader=yaml.CSafeLoader)
        paths = loaded["rosbag2_bagfile_information"]["relative_file_paths"]
        return [PurePath(path).name for path in paths]
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError):
        return []
