"""Stage dataset: episodes in, the training zarr out: resampled, labelled, split, measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from rich.table import Table

from pipeline.dataset.episode_store import count_episodes, read_episodes
from pipeline.dataset.obstacle_arrays import read_obstacles, write_obstacles
from pipeline.dataset.resample import label, resample
from pipeline.dataset.split import SPLIT_NAMES, TRAIN, split_of
from pipeline.dataset.statistics import Stats
from pipeline.dataset.store import dataset_stats
from pipeline.dataset.zarr_arrays import (
    ArrayWriter,
    create_array,
    create_group,
    find_array,
    read_spans,
)
from pipeline.errors import PipelineError
from pipeline.kinematics import continue_paths
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.run import console, output_folder, track, write_json


class DatasetError(PipelineError):
    """Episodes do not make a data set to train on."""


def run(params: Params, out: Path, source: Path | None = None) -> None:
    """Turn `source` into `out`/<object>_grasp.zarr and `out`/dataset.json.

    Args:
        params: all parameters.
        out: folder to write; untouched when the stage fails.
        source: episodes.zarr; that of artifacts/ingest by default.

    Raises:
        DatasetError: no episode is left for training.
        PipelineError: the episodes are missing or of another arm.
    """
    source = source or Path("artifacts/ingest/episodes.zarr")
    layout = Layout.from_params(params)
    if params.dataset.labels == "same_step":
        console.print(
            "[yellow]warning: dataset.labels is same_step: action\\[t] is where the arm is at step "
            "t, which a policy can answer by standing still; next_step makes it move[/]"
        )
    name = f"{params.task.object}_grasp.zarr"
    with output_folder(out) as folder:
        group = create_group(folder / name, params.dataset.zarr_format)
        ends, split = _write_rows(group, layout, params, source)
        if TRAIN not in split:
            raise DatasetError(
                f"{source}: none of {len(ends)} episodes fell to training; lower "
                f"dataset.val_fraction {params.dataset.val_fraction} and test_fraction "
                f"{params.dataset.test_fraction}, or add episodes"
            )
        state, action = (
            find_array(group, f"data/{part}", folder / name) for part in ("state", "action")
        )
        stats = dataset_stats(state, action, ends, split, folder / name)
        group.attrs.update(_attributes(layout, params, source, ends, stats))
        obstacles = read_obstacles(group, len(ends), folder / name)
        summary = _summary(folder / name, (state, action), ends, split, layout, obstacles)
        write_json(folder / "dataset.json", summary)
    _print(summary, out / name)


def _write_rows(
    group: zarr.Group, layout: Layout, params: Params, source: Path
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Write states, actions, ends and splits; memory holds one chunk. Returns ends and splits."""
    rules, robot = params.dataset, RobotModel.from_params(params.robot)
    states, actions = (
        ArrayWriter(group, f"data/{name}", (width,), "float32", rules.chunk_rows)
        for name, width in (("state", layout.state_dim), ("action", layout.action_dim))
    )
    lengths, splits, obstacles = [], [], []
    episodes = read_episodes(source, params.robot.joints, params.task.object)
    for episode in track(episodes, "Resampling", count_episodes(source)):
        steps = resample(episode, rules.rate_hz, rules.hold_steps)
        pose = robot.fk(steps.joint_pos)
        pose[:, 3:] = continue_paths(pose[:, 3:], np.zeros(1, np.int64))
        fields = {
            "joint_pos": steps.joint_pos,
            "joint_vel": steps.joint_vel,
            "ee_pose": pose,
            "object_pos": episode.object_pos,
            "object_axis": episode.object_axis,
        }
        states.add(layout.pack(fields))
        actions.add(label(steps.joint_command, rules.labels).astype(np.float32))
        lengths.append(len(steps.joint_pos))
        obstacles.append(episode.obstacles)
        splits.append(split_of(episode.content_hash, rules.val_fraction, rules.test_fraction))
    if not lengths:
        raise DatasetError("ingest left no episode; look at its report.json")
    states.close()
    actions.close()
    ends, split = np.cumsum(lengths, dtype=np.int64), np.array(splits, np.int8)
    for name, values in (("meta/episode_ends", ends), ("meta/split", split)):
        array = create_array(group, name, values.shape, values.dtype.name, rules.chunk_rows)
        array[...] = values
    write_obstacles(group, obstacles, "float32", rules.chunk_rows)
    return ends, split


def _attributes(
    layout: Layout, params: Params, source: Path, ends: NDArray[np.int64], stats: dict[str, Stats]
) -> dict[str, Any]:
    rules = params.dataset
    return {
        "state_dim": layout.state_dim,
        "action_dim": layout.action_dim,
        "num_episodes": len(ends),
        "total_timesteps": int(ends[-1]),
        "metadata": {
            "state_type": layout.describe(),
            "action_type": f"joint_pos[{layout.action_dim}], absolute, rad, {rules.labels}",
            "robot": params.robot.urdf.stem,
            "task": f"{params.task.object} grasp",
            "source": source.as_posix(),
        },
        "rate_hz": rules.rate_hz,
        "hold_steps": rules.hold_steps,
        "split_names": list(SPLIT_NAMES),
        "layout": layout.to_dict(),
        "stats": stats,
    }


def _summary(
    path: Path,
    arrays: Sequence[zarr.Array[Any]],
    ends: NDArray[np.int64],
    split: NDArray[np.int8],
    layout: Layout,
    obstacles: tuple[NDArray[Any], NDArray[np.int64]],
) -> dict[str, Any]:
    lengths = np.diff(ends, prepend=0)
    digest = hashlib.sha256()
    for array in arrays:
        for rows in read_spans(array, ends - lengths, ends, path):
            digest.update(np.ascontiguousarray(rows).tobytes())
    for values in (ends, split, *(obstacles if len(obstacles[0]) else ())):
        digest.update(values.tobytes())
    numbers = np.diff(obstacles[1], prepend=0)
    around = {"episodes": int((numbers > 0).sum()), "most": int(numbers.max())}
    return {
        "episodes": len(ends),
        "steps": int(ends[-1]),
        "splits": {
            name: {
                "episodes": int((split == index).sum()),
                "steps": int(lengths[split == index].sum()),
            }
            for index, name in enumerate(SPLIT_NAMES)
        },
        "steps_per_episode": round(float(lengths.mean()), 3),
        "state_dim": layout.state_dim,
        "action_dim": layout.action_dim,
        "size_mb": round(
            sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6, 3
        ),
        "layout": layout.fingerprint,
        "content": digest.hexdigest()[:12],
        **({"obstacles": around} if numbers.any() else {}),
    }


def _print(summary: dict[str, Any], path: Path) -> None:
    table = Table(title=f"Data set {path}", title_justify="left")
    for column in ("Split", "Episodes", "Steps"):
        table.add_column(column, justify="left" if column == "Split" else "right")
    for name, counts in summary["splits"].items():
        table.add_row(name, str(counts["episodes"]), str(counts["steps"]))
    table.add_row("all", str(summary["episodes"]), str(summary["steps"]))
    console.print(table)
    console.print(
        f"state {summary['state_dim']}, action {summary['action_dim']}, "
        f"{summary['size_mb']} MB, layout {summary['layout']}"
    )
    if around := summary.get("obstacles"):
        console.print(
            f"obstacles in {around['episodes']} episodes, at most {around['most']} in one"
        )
    for name, counts in summary["splits"].items():
        if not counts["episodes"]:
            console.print(f"[yellow]warning: no episode fell to {name}; add episodes[/]")
