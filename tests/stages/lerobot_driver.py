"""Opens a data set with LeRobot's own loader. It runs in LeRobot's environment, not in ours.

Usage: lerobot_driver.py DATA OWN. Prints one line of JSON: what LeRobot read of DATA, and how it
differs from the same frames recorded by LeRobot itself into OWN.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from packaging.version import Version

COUNTED = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
# LeRobot takes those of time stamps before rounding, deviations as √(E[x²] - E[x]²) in single
# precision, and quantiles, which are not compared, from histograms.
TOLERANCE = {"min": 1e-7, "max": 1e-7, "count": 0.0, "mean": 1e-5, "std": 2e-3}


def record(dataset: LeRobotDataset, folder: Path) -> LeRobotDataset:
    """Record all frames once more, as LeRobot's users do."""
    features = {name: kind for name, kind in dataset.meta.features.items() if name not in COUNTED}
    own = LeRobotDataset.create(
        "local/own", dataset.meta.fps, features, folder,
        robot_type=dataset.meta.robot_type, use_videos=False,
    )  # fmt: skip
    episode = 0
    for index in range(dataset.num_frames):
        row = dataset[index]
        if int(row["episode_index"]) != episode:
            own.save_episode()
            episode = int(row["episode_index"])
        own.add_frame({name: row[name].numpy() for name in features} | {"task": row["task"]})
    own.save_episode()
    if hasattr(own, "finalize"):
        own.finalize()
    return LeRobotDataset("local/own", root=folder)


def columns(folder: Path, name: str) -> dict[str, str]:
    """Columns of a parquet file and their types."""
    schema = pq.read_schema(folder / name)
    return {column: str(schema.field(column).type) for column in schema.names}


def differences(ours: LeRobotDataset, own: LeRobotDataset) -> list[str]:
    """What a data set of LeRobot's own has otherwise."""
    # Earlier versions read the same files, but name and type a few columns otherwise.
    found = files(ours, own) if Version(version("lerobot")) >= Version("0.6") else []
    for column, known in own.meta.stats.items():
        for name, tolerance in TOLERANCE.items():
            here = ours.meta.stats[column][name]
            if here.shape != known[name].shape or np.abs(here - known[name]).max() > tolerance:
                found.append(f"stats.json: {column}/{name} is {here}, expected {known[name]}")
    same = all(
        np.array_equal(ours[index][name], own[index][name])
        for index in range(ours.num_frames) for name in ours.meta.features
    )  # fmt: skip
    return found + ([] if same else ["frames differ"])


def files(ours: LeRobotDataset, own: LeRobotDataset) -> list[str]:
    """Columns and types of parquet files and keys of info.json that differ."""
    found = []
    for name in ("data/chunk-000/file-000.parquet", "meta/tasks.parquet",
                 "meta/episodes/chunk-000/file-000.parquet"):  # fmt: skip
        here, there = columns(ours.root, name), columns(own.root, name)
        found += [
            f"{name}: {column} is {here.get(column)}, expected {there.get(column)}"
            for column in {*here, *there}
            if here.get(column) != there.get(column)
        ]
    info, expected = (json.loads((each.root / "meta/info.json").read_text())
                      for each in (ours, own))  # fmt: skip
    found += [f"info.json: {key} is {info.get(key)}, expected {expected.get(key)}"
              for key in {*info, *expected} - {"splits"}
              if info.get(key) != expected.get(key)]  # fmt: skip
    return found


def main(data: Path, folder: Path) -> dict[str, Any]:
    """Read, record again, compare."""
    dataset = LeRobotDataset("local/data", root=data)
    stacked = {name: [dataset[index][name].tolist() for index in range(dataset.num_frames)]
               for name in dataset.meta.features}  # fmt: skip
    windows = LeRobotDataset("local/data", root=data, episodes=[1],
                             delta_timestamps={"action": [0.0, 1 / dataset.meta.fps]})  # fmt: skip
    return {
        "version": version("lerobot"),
        "episodes": dataset.num_episodes,
        "task": dataset[0]["task"],
        "frames": stacked,
        "window": windows[0]["action"].tolist(),
        "differences": differences(dataset, record(dataset, folder)),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
