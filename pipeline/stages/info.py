"""Command info: shows what a data set, checkpoint or recording holds. It changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from pipeline.dataset.generic import load_generic
from pipeline.dataset.split import SPLIT_NAMES
from pipeline.dataset.store import Dataset, load_dataset
from pipeline.dataset.zarr_arrays import StoreError, open_group
from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.observation import obstacle_slots
from pipeline.recordings.formats.lerobot import is_lerobot
from pipeline.recordings.joint_topics import read_topics
from pipeline.recordings.rosbag.files import METADATA, is_split, is_storage
from pipeline.recordings.rosbag.protocol import Bag
from pipeline.recordings.rosbag.reader import open_bag, summarize
from pipeline.recordings.sources import SourceError, find_recordings
from pipeline.run import console

_EXPECTED = (
    "a training zarr, a checkpoint .pt, a rosbag2 folder, a .mcap, .db3 or ROS 1 .bag file, or a "
    "folder of recordings"
)
# A zarr group of either format has one of these.
_ZARR_FILES = (".zgroup", "zarr.json")


class InfoError(PipelineError):
    """There is nothing to show."""


def run(path: Path, params: Params) -> None:
    """Print the table of an artefact.

    Args:
        path: a training zarr (the team's own form too), a checkpoint .pt, a rosbag2 folder, a bare
            .mcap, .db3 or .bag file, or a folder of recordings.
        params: used to read a zarr that has no layout or split.

    Raises:
        InfoError: the path is missing or is none of these.
        PipelineError: the artefact is damaged.
    """
    if not path.exists():
        raise InfoError(f"{path}: no such file or folder; expected {_EXPECTED}")
    if any((path / name).is_file() for name in _ZARR_FILES):
        console.print(_dataset_table(path, params))
    elif path.suffix == ".pt":
        console.print(_checkpoint_table(path))
    elif is_storage(path) or (path.is_dir() and ((path / METADATA).is_file() or is_split(path))):
        with open_bag(path, salvage=params.ingest.salvage) as bag:
            console.print(_bag_table(path, bag, params))
    else:
        _show_folder(path, params)


def _show_folder(folder: Path, params: Params) -> None:
    """Show each bag that ingest would find in a folder; count the recordings of other kinds."""
    try:
        found = find_recordings(folder)
    except SourceError as error:
        raise InfoError(f"{folder}: holds nothing known here; expected {_EXPECTED}") from error
    bags = [path for path in found if is_storage(path) or (path.is_dir() and not is_lerobot(path))]
    errors = []
    for path in bags:
        try:
            run(path, params)
        except PipelineError as error:
            errors.append(error)
    if len(found) > len(bags):
        kinds = "trajectories in files and LeRobot data sets"
        console.print(f"{folder}: {len(found) - len(bags):,} {kinds}, which ingest reads")
    if errors:
        listed = "\n".join(str(error) for error in errors)
        raise InfoError(f"{len(errors)} of {len(bags)} recordings cannot be shown:\n{listed}")


def _dataset_table(path: Path, params: Params) -> Table:
    attributes = open_group(path).attrs
    dataset, whence = _read(path, "layout" in attributes, params)
    table = _table(f"Data set {path}")
    table.add_row("episodes", f"{dataset.num_episodes:,}")
    table.add_row("steps", f"{dataset.num_steps:,} ({_lengths(dataset)})")
    table.add_row("state", f"{dataset.layout.state_dim}: {dataset.layout.describe()}")
    _add_action(table, dataset.layout)
    table.add_row("size", f"{_size_mb(path):.1f} MB")
    rate = dataset.rate_hz
    table.add_row("rate", "unknown: the data set does not say" if rate is None else f"{rate:g} Hz")
    if dataset.has_obstacles:
        table.add_row("obstacles", _obstacles(dataset))
    table.add_row("split", _splits(dataset, "meta/split" in open_group(path)))
    table.add_row("statistics", "in the data set" if "stats" in attributes else "none stored")
    table.add_row("layout", f"{dataset.layout.fingerprint}{whence}")
    metadata = dataset.attributes.get("metadata")
    for name, value in metadata.items() if isinstance(metadata, dict) else ():
        table.add_row(str(name), str(value))
    return table


def _read(path: Path, has_layout: bool, params: Params) -> tuple[Dataset, str]:
    """Read a zarr by its own layout, else as params.yaml says; returns it with the layout's source.

    A zarr that is not the arm's is shown as plain vectors, with the option that trains on them.
    """
    if params.dataset.layout == "generic":
        return load_generic(path, params.dataset), ", generic"
    if has_layout:
        return load_dataset(path, None, params.dataset), ""
    try:
        return load_dataset(path, Layout.from_params(params), params.dataset), " of params.yaml"
    except StoreError as error:
        try:
            generic = load_generic(path, params.dataset)
        except StoreError:
            raise error from None
    return generic, ", generic: not the arm of params.yaml; train it with --layout generic"


def _add_action(table: Table, layout: Layout) -> None:
    table.add_row("action", f"{layout.action_dim}: {layout.describe_action()}")
    if not layout.is_generic:
        table.add_row("joints", ", ".join(layout.joints))


def _lengths(dataset: Dataset) -> str:
    lengths = np.diff(dataset.episode_ends, prepend=0)
    return f"{lengths.min()} to {lengths.max()} an episode, {lengths.mean():.1f} on average"


def _obstacles(dataset: Dataset) -> str:
    numbers = np.diff(dataset.obstacle_ends, prepend=0)
    share = f"{(numbers > 0).sum():,} of {dataset.num_episodes:,} episodes"
    return f"in {share}, at most {dataset.max_obstacles} in one"


def _splits(dataset: Dataset, stored: bool) -> str:
    counts = ", ".join(f"{name} {len(dataset.episodes(name)):,}" for name in SPLIT_NAMES)
    return counts if stored else f"none stored; by content and params.yaml: {counts}"


def _checkpoint_table(path: Path) -> Table:
    # torch takes seconds to import, and only checkpoints need it.
    from pipeline.policy.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    number = sum(parameter.numel() for parameter in checkpoint.build().parameters())
    table = _table(f"Checkpoint {path}")
    table.add_row("parameters", f"{number:,}")
    for name, value in checkpoint.config.items():
        if not isinstance(value, dict):
            table.add_row(str(name), str(value))
    for name, value in checkpoint.params.model_dump(mode="json").items():
        table.add_row(f"policy.{name}", str(value))
    table.add_row("state", f"{checkpoint.layout.state_dim}: {checkpoint.layout.describe()}")
    slots = obstacle_slots(checkpoint.config)
    table.add_row("obstacles", f"sees {slots} at most" if slots else "sees none")
    _add_action(table, checkpoint.layout)
    table.add_row("layout", checkpoint.layout.fingerprint)
    table.add_row("size", f"{_size_mb(path):.1f} MB")
    return table


def _bag_table(path: Path, bag: Bag, params: Params) -> Table:
    topics = summarize(bag)
    reading = read_topics(bag, params)
    table = Table(
        title=f"Recording {path}: {bag.storage}, {bag.duration_s:.1f} s, {_size_mb(path):.1f} MB; "
        f"ingest cuts episodes from {reading.mode or 'nothing: name a topic in ingest.plan_topic'}",
        title_justify="left",
    )
    for column in ("Topic", "Type", "Messages", "Hz", "Ingest"):
        justify: Literal["left", "right"] = "right" if column in {"Messages", "Hz"} else "left"
        table.add_column(column, justify=justify)
    for topic, use in zip(topics, reading.uses, strict=True):
        rate = topic.messages / bag.duration_s if bag.duration_s > 0 else 0.0
        says = f"{topic.messages:,}", f"{rate:.3g}" if topic.messages > 1 else "–"
        table.add_row(topic.topic, topic.msgtype, *says, use.note)
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    return table


def _size_mb(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6
