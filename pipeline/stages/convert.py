"""Command convert: writes the training data in the format of another program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pipeline.dataset.split import SPLIT_NAMES
from pipeline.dataset.store import Dataset, load_dataset
from pipeline.dataset.windows import episode_starts
from pipeline.dataset.zarr_arrays import read_spans
from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS, pad
from pipeline.params import Params
from pipeline.recordings.formats.lerobot import obstacle_names
from pipeline.recordings.formats.lerobot_writer import LerobotWriter, require_pyarrow
from pipeline.run import MARKER, console, output_folder, track

FORMATS = ("lerobot",)

Names = tuple[str, ...]
Splits = dict[str, tuple[int, int]]

_AXES = ("x", "y", "z")
_POSE = (*_AXES, "qx", "qy", "qz", "qw")


class ConvertError(PipelineError):
    """A data set cannot be converted."""


def run(
    params: Params,
    out: Path,
    to: str,
    data_path: Path | None = None,
    rate_hz: float | None = None,
    task: str | None = None,
) -> None:
    """Write the training data to `out`.

    Args:
        params: all parameters.
        out: folder to make; untouched when the command fails.
        to: one of FORMATS.
        data_path: training zarr; None takes the one that stage dataset writes.
        rate_hz: control rate of a zarr that does not say its own, Hz.
        task: what the robot does, in words; None names the object to grasp.

    Raises:
        ConvertError: the format is unknown, `out` is not empty, or the data have no joint positions
            or no whole number of frames per second.
        PipelineError: the zarr is missing or damaged, or pyarrow is not installed.
    """
    if to not in FORMATS:
        raise ConvertError(f"--to {to}: unknown format; known: {', '.join(FORMATS)}")
    _require_empty(out)
    require_pyarrow(out)
    path = data_path or Path("artifacts/dataset") / f"{params.task.object}_grasp.zarr"
    # No limit: rows are read as they are written.
    dataset = load_dataset(path, Layout.from_params(params), params.dataset, limit_bytes=0)
    fps = _whole_rate(dataset, rate_hz)
    features = _features(dataset.layout, dataset.max_obstacles)
    splits, order = _ordered(dataset)
    with output_folder(out) as folder:
        writer = LerobotWriter(
            folder, features, fps, task or f"grasp the {dataset.layout.object}",
            params.robot.urdf.stem,
        )  # fmt: skip
        for frames in track(_episodes(dataset, order), "Writing", dataset.num_episodes):
            writer.add(frames)
        writer.close(splits)
        # Only files of the format: the folder may be published as it is.
        (folder / MARKER).unlink()
    _print(dataset, splits, features, out)


def _require_empty(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ConvertError(
            f"{out}: exists and is not an empty folder, expected one to make; name another, or "
            "remove it"
        )


def _whole_rate(dataset: Dataset, rate_hz: float | None) -> int:
    rate = dataset.rate_hz or rate_hz
    if rate is None:
        raise ConvertError(
            f"{dataset.path}: names no control rate; give its steps per second with --rate-hz"
        )
    if rate <= 0 or rate != int(rate):
        raise ConvertError(
            f"{dataset.path}: has {rate:g} steps per second, but LeRobot expects a whole number; "
            "set dataset.rate_hz to one and run `dataset` again"
        )
    return int(rate)


def _features(layout: Layout, obstacles: int) -> dict[str, Names]:
    """Names of the numbers of each column, with the suffixes of LeRobot's own robots."""
    if not layout.has("joint_pos"):
        raise ConvertError(
            f"the state {layout.describe()} lacks joint_pos, which becomes observation.state: add "
            "it to task.state_fields and run `dataset` again"
        )
    positions = tuple(f"{joint}.pos" for joint in layout.joints)
    features: dict[str, Names] = {"observation.state": positions}
    if _has_object(layout):
        features["observation.environment_state"] = tuple(
            f"{layout.field(kind).name}.{axis}"
            for kind in ("object_pos", "object_axis")
            for axis in _AXES
        )
    if layout.has("joint_vel"):
        features["observation.velocity"] = tuple(f"{joint}.vel" for joint in layout.joints)
    if layout.has("ee_pose"):
        features["observation.ee_pose"] = _POSE
    if obstacles:
        features["observation.obstacles"] = obstacle_names(obstacles)
    return features | {"action": positions}


def _has_object(layout: Layout) -> bool:
    return layout.has("object_pos") and layout.has("object_axis")


def _ordered(dataset: Dataset) -> tuple[Splits, list[NDArray[np.int64]]]:
    """Episodes by split, since LeRobot's splits are ranges."""
    order = [dataset.episodes(name) for name in SPLIT_NAMES]
    ends = np.cumsum([len(episodes) for episodes in order]).tolist()
    splits = {
        name: (end - len(episodes), end)
        for name, episodes, end in zip(SPLIT_NAMES, order, ends, strict=True)
        if len(episodes)
    }
    return splits, order


def _episodes(
    dataset: Dataset, order: list[NDArray[np.int64]]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The frames of each episode, read once for each split that shares their chunks."""
    for episodes in order:
        starts, ends = episode_starts(dataset.episode_ends)[episodes], dataset.episode_ends
        states, actions = (
            read_spans(rows, starts, ends[episodes], dataset.path)
            for rows in (dataset.state, dataset.action)
        )
        for episode, state, action in zip(episodes, states, actions, strict=True):
            obstacles = dataset.obstacles(int(episode))
            yield _frames(dataset.layout, state, action, obstacles, dataset.max_obstacles)


def _frames(
    layout: Layout,
    state: NDArray[np.float32],
    action: NDArray[np.float32],
    obstacles: NDArray[np.float32],
    slots: int,
) -> dict[str, NDArray[np.float32]]:
    """The columns of an episode of T frames; obstacles are repeated in each."""
    found = {"observation.state": layout.unpack(state, "joint_pos"), "action": action}
    if _has_object(layout):
        parts = [layout.unpack(state, kind) for kind in ("object_pos", "object_axis")]
        found["observation.environment_state"] = np.concatenate(parts, axis=1)
    if layout.has("joint_vel"):
        found["observation.velocity"] = layout.unpack(state, "joint_vel")
    if layout.has("ee_pose"):
        found["observation.ee_pose"] = layout.unpack(state, "ee_pose")
    if slots:
        row = pad(obstacles, slots).reshape(1, slots * COLUMNS)
        found["observation.obstacles"] = np.repeat(row, len(state), axis=0)
    return {name: values.astype(np.float32) for name, values in found.items()}


def _print(dataset: Dataset, splits: Splits, features: dict[str, Names], out: Path) -> None:
    lengths = np.diff(dataset.episode_ends, prepend=0)
    table = Table(title=f"LeRobot data set {out}", title_justify="left")
    for column in ("Split", "Episodes", "Range", "Frames"):
        table.add_column(column, justify="left" if column == "Split" else "right")
    for name, (start, end) in splits.items():
        frames = int(lengths[dataset.episodes(name)].sum())
        table.add_row(name, str(end - start), f"{start}:{end}", str(frames))
    console.print(table)
    console.print(", ".join(f"{name}\\[{len(names)}]" for name, names in features.items()))
    console.print(
        "left out: the zarr's attributes (layout, statistics of the training split, source)"
    )
    if not _has_object(dataset.layout):
        console.print(
            "[yellow]warning: the states hold no pose of the object, so there is no "
            "observation.environment_state, which LeRobot's diffusion policy needs without "
            "images[/]"
        )
