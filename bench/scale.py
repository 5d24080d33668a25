"""Measure what each stage costs with the number of episodes, and fit a straight line.

    python -m bench.scale [--sizes 1000 10000 100000] [--stages ingest dataset train]

Recordings are made for the purpose: bags of 1,000 plans of 40 points to random poses of the arm.
Each stage runs as a command of its own, on this machine. Reported are CPU seconds of it and its
children, which other programs disturb little, the largest memory of one of its processes and the
bytes that it leaves. train runs one epoch without rollouts. collect and train are measured up to
--most-collect and --most-train episodes. Writes bench/results/scale.json after each stage.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from pipeline.machine import available_cores, processor
from pipeline.params import Params, load_params
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.robot.model import RobotModel, axis_quaternion
from pipeline.run import versions, write_json

RESULT = Path(__file__).parent / "results" / "scale.json"
STAGES = ("collect", "ingest", "dataset", "train")
PLANS, POINTS, STEP_S = 1000, 40, 0.03
SPREAD_RAD = 0.6
"""Largest distance of each joint from the home pose at the end of a plan, rad."""
PAUSE_NS = 10 * 10**9
SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl(2)."""
GOAL_EPISODES = 1_000_000


def main() -> None:
    """Measure and write bench/results/scale.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--most-collect", type=int, default=1000, help="episodes")
    parser.add_argument("--most-train", type=int, default=10_000, help="episodes")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    machine = {"processor": processor(), "cores": available_cores(), "versions": versions("zarr")}
    Path(".state").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=".state") as name:
        params = _params(Path(name))
        for size in given.sizes:
            folder = Path(name) / str(size)
            for stage, command in _commands(params, folder, size).items():
                most = {"collect": given.most_collect, "train": given.most_train}.get(stage, size)
                if stage not in given.stages or size > most:
                    continue
                if stage == "ingest":
                    _record(load_params(params), folder / "recordings", size)
                cost = _run(command, folder / stage)
                rows.append({"stage": stage, "episodes": size, **cost})
                print(rows[-1], flush=True)
                write_json(RESULT, {**machine, "rows": rows, "lines": _lines(rows)})


def _params(folder: Path) -> Path:
    """Parameters of one epoch without rollouts, and without a cache of ingest's results."""
    yaml = YAML()
    values = yaml.load(Path("params.yaml"))
    values["ingest"]["cache_gb"] = 0
    values["train"].update(select="val_loss", num_epochs=1)
    path = folder / "params.yaml"
    yaml.dump(values, path)
    return path


def _commands(params: Path, folder: Path, size: int) -> dict[str, list[str]]:
    few = folder.parent / f"collect_{size}.yaml"
    yaml = YAML()
    values = yaml.load(params)
    values["collect"]["episodes"] = size
    yaml.dump(values, few)
    zarr = folder / "dataset" / f"{values['task']['object']}_grasp.zarr"
    inputs = {
        "collect": [],
        "ingest": ["--source", str(folder / "recordings")],
        "dataset": ["--source", str(folder / "ingest" / "episodes.zarr")],
        "train": ["--data-path", str(zarr)],
    }
    return {
        stage: [
            sys.executable, "-m", "pipeline", stage, "--params", str(few),
            "--out", str(folder / stage), *given,
        ]
        for stage, given in inputs.items()
    }  # fmt: skip


def _record(params: Params, folder: Path, size: int) -> None:
    """Write bags of plans, all different."""
    rng, model = np.random.default_rng(size), RobotModel.from_params(params.robot)
    t = np.arange(POINTS) * STEP_S
    s = (t / t[-1])[:, None]
    for number in range(-(-size // PLANS)):
        path, frame = folder / f"bag_{number:04d}", params.robot.base_link
        with BagWriter(path, "mcap", frame_id=frame) as bag:
            for index in range(min(PLANS, size - number * PLANS)):
                way = rng.uniform(-SPREAD_RAD, SPREAD_RAD, len(model.home))
                tcp, start_ns = model.tcp(model.home + way), (index + 1) * PAUSE_NS
                axis = -tcp.rotation[:, 2]
                centre = tcp.translation - axis * params.task.object_length_m / 2
                topic = f"/{params.task.object}_pose"
                place = centre, axis_quaternion(axis)
                bag.object_pose(start_ns, frame, *place, topic=topic)
                bag.plan(
                    start_ns, params.robot.joints, t, model.home + way * (3 * s**2 - 2 * s**3),
                    way * (6 * s - 6 * s**2) / t[-1], way * (6 - 12 * s) / t[-1] ** 2, model.home,
                )  # fmt: skip


def _run(command: list[str], out: Path) -> dict[str, float]:
    """Run a command: CPU seconds, largest memory of one process MB, size of its output MB."""
    # Workers belong to a server process, which outlives the command; this process inherits it.
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    cpu_s, memory_kb = 0.0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        while True:
            try:
                ended, status, used = os.wait3(0)
            except ChildProcessError:
                break
            cpu_s += used.ru_utime + used.ru_stime
            memory_kb = max(memory_kb, used.ru_maxrss)
            if ended == child.pid:
                child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    left = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {
        "cpu_s": round(cpu_s, 2),
        "memory_mb": round(memory_kb / 1024, 1),
        "disk_mb": round(left / 1e6, 2),
    }


def _lines(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Costs of each stage at 10^6 episodes, by the line through its two largest sizes."""
    lines = {}
    for stage in dict.fromkeys(row["stage"] for row in rows):
        found = [row for row in rows if row["stage"] == stage]
        last, before = found[-1], found[-2] if len(found) > 1 else None
        lines[stage] = {}
        for cost in ("cpu_s", "memory_mb", "disk_mb"):
            if before is None:
                slope = last[cost] / last["episodes"]
            else:
                slope = (last[cost] - before[cost]) / (last["episodes"] - before["episodes"])
            lines[stage][cost] = round(last[cost] + slope * (GOAL_EPISODES - last["episodes"]), 1)
    return lines


if __name__ == "__main__":
    main()
