"""Stage dataset: episodes in, the training zarr out: resampled, labelled, split, measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pipeline.dataset.episode import Episode
from pipeline.dataset.episode_store import read_episodes
from pipeline.dataset.resample import label, resample
from pipeline.dataset.split import SPLIT_NAMES, TRAIN, split_of
from pipeline.dataset.store import create_array, create_group, dataset_stats
from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.run import console, output_folder, track, write_json


class DatasetError(PipelineError):
    """Episodes do not make a data set to train on."""


@dataclass(frozen=True)
class _Rows:
    """The flat arrays of the data set: N rows, E episodes."""

    state: NDArray[np.float32]
    action: NDArray[np.float32]
    episode_ends: NDArray[np.int64]
    split: NDArray[np.int8]


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
    robot = RobotModel.from_params(params.robot)
    layout = Layout.from_params(params)
    episodes = list(read_episodes(source, params.robot.joints, params.task.object))
    if params.dataset.labels == "same_step":
        console.print(
            "[yellow]warning: dataset.labels is same_step: action\\[t] is where the arm is at step "
            "t, which a policy can answer by standing still; next_step makes it move[/]"
        )
    rows = _rows(track(episodes, "Resampling", len(episodes)), robot, layout, params)
    if not (rows.split == TRAIN).any():
        raise DatasetError(
            f"{source}: none of {len(episodes)} episodes fell to training; lower "
            f"dataset.val_fraction {params.dataset.val_fraction} and test_fraction "
            f"{params.dataset.test_fraction}, or add episodes"
        )
    with output_folder(out) as folder:
        name = f"{params.task.object}_grasp.zarr"
        _write(folder / name, rows, layout, params, source)
        summary = _summary(rows, layout, folder / name)
        write_json(folder / "dataset.json", summary)
    _print(summary, out / name)


def _rows(episodes: Iterable[Episode], robot: RobotModel, layout: Layout, params: Params) -> _Rows:
    states, actions, splits = [], [], []
    rules = params.dataset
    for episode in episodes:
        steps = resample(episode, rules.rate_hz, rules.hold_steps)
        states.append(
            layout.pack(
                {
                    "joint_pos": steps.joint_pos,
                    "joint_vel": steps.joint_vel,
                    "ee_pose": robot.ee_path(steps.joint_pos),
                    "object_pos": episode.object_pos,
                    "object_axis": episode.object_axis,
                }
            )
        )
        actions.append(label(steps.joint_command, rules.labels).astype(np.float32))
        splits.append(split_of(episode.content_hash, rules.val_fraction, rules.test_fraction))
    if not states:
        raise DatasetError("ingest left no episode; look at its report.json")
    return _Rows(
        np.concatenate(states),
        np.concatenate(actions),
        np.cumsum([len(state) for state in states], dtype=np.int64),
        np.array(splits, np.int8),
    )


def _write(path: Path, rows: _Rows, layout: Layout, params: Params, source: Path) -> None:
    rules = params.dataset
    group = create_group(path, rules.zarr_format)
    for name, values in (
        ("data/state", rows.state),
        ("data/action", rows.action),
        ("meta/episode_ends", rows.episode_ends),
        ("meta/split", rows.split),
    ):
        array = create_array(group, name, values.shape, values.dtype.name, rules.chunk_rows)
        array[...] = values
    group.attrs.update(
        {
            "state_dim": layout.state_dim,
            "action_dim": layout.action_dim,
            "num_episodes": len(rows.episode_ends),
            "total_timesteps": len(rows.state),
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
            "stats": dataset_stats(rows.state, rows.action, rows.episode_ends, rows.split),
        }
    )


def _summary(rows: _Rows, layout: Layout, path: Path) -> dict[str, Any]:
    lengths = np.diff(rows.episode_ends, prepend=0)
    digest = hashlib.sha256()
    for array in (rows.state, rows.action, rows.episode_ends, rows.split):
        digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "episodes": len(rows.episode_ends),
        "steps": len(rows.state),
        "splits": {
            name: {
                "episodes": int((rows.split == index).sum()),
                "steps": int(lengths[rows.split == index].sum()),
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
    for name, counts in summary["splits"].items():
        if not counts["episodes"]:
            console.print(f"[yellow]warning: no episode fell to {name}; add episodes[/]")
