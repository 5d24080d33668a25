"""Measure how fast ingest reads, compared with the library's own decoder, and its memory.

    python -m bench.ingest                     # 2,000 plans for the rates, 500 MB for the memory
    python -m bench.ingest --plans 500 --memory-mb 0

Makes a bag of 60-point, six-joint plans of about 11 kB with an object pose before each. Reads it in
ways that do more and more of the stage's work, interleaved in one process. The smallest CPU time of
several rounds counts, since other programs may use the machine. The fixed cost of the stage
(imports for the pictures, the robot's model) is measured on a bag of 20 plans and reported
separately.
Peak memory is that of a separate process that runs `ingest` as users do. Writes
bench/results/ingest.json.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rosbags.rosbag2 import Reader

from pipeline.params import Params, load_params
from pipeline.recordings.rosbag.messages import (
    DISPLAY_TRAJECTORY,
    serialize_display_trajectory,
    typestore,
)
from pipeline.recordings.rosbag.reader import open_bag, summarize
from pipeline.recordings.rosbag.stream import read_messages
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.recordings.sources import describe_source
from pipeline.recordings.topics import choose_topics
from pipeline.robot.model import RobotModel
from pipeline.run import console, versions, write_json
from pipeline.stages import ingest
from pipeline.validation.validate import validate_recording

RESULTS = Path(__file__).parent / "results" / "ingest.json"
POINTS, SHAPES = 60, 100
PERIOD_NS = 5 * 10**9


def write_plans(path: Path, params: Params, number: int) -> Path:
    """Write a bag of plans that repeats SHAPES motions, with a new object pose before each plan."""
    joints, home = params.robot.joints, np.array(params.robot.home_rad)
    rng = np.random.default_rng(0)
    t = np.linspace(0.0, 2.4, POINTS)
    s = (t / t[-1])[:, None]
    messages = []
    for reach in rng.uniform(-0.7, 0.7, (SHAPES, len(joints))):
        position = home + reach * (3 * s**2 - 2 * s**3)
        velocity, acceleration = (
            reach * (6 * s - 6 * s**2) / t[-1],
            reach * (6 - 12 * s) / t[-1] ** 2,
        )
        messages.append(serialize_display_trajectory(
            "arm", "base_link", joints, t, position, velocity, acceleration, home
        ))  # fmt: skip
    with BagWriter(path, "mcap") as bag:
        bag.plan(0, joints, t[:1], *np.zeros((3, 1, len(joints))), home)  # makes the topic
        for index in range(number):
            time_ns = (index + 1) * PERIOD_NS
            place = rng.uniform([0.25, -0.15, 0.15], [0.6, 0.15, 0.5])
            bag.object_pose(time_ns - 1, "base_link", place, np.array([0.0, 0.0, 0.0, 1.0]))
            bag._write(
                "/display_planned_path", DISPLAY_TRAJECTORY, time_ns, messages[index % SHAPES]
            )
    return path


def read_raw(path: Path, params: Params) -> None:
    """Read the bytes and decode nothing."""
    with Reader(path) as reader:
        for _ in reader.messages():
            pass


def library(path: Path, params: Params) -> None:
    """Read and decode with the library, and do nothing with the messages."""
    store = typestore()
    with Reader(path) as reader:
        for connection, _, raw in reader.messages():
            store.deserialize_cdr(raw, connection.msgtype)


def decode(path: Path, params: Params) -> None:
    """Read and decode with our readers, and validate nothing."""
    with open_bag(path) as bag:
        reading = choose_topics(summarize(bag), params.ingest, params.task.object)
        for _ in read_messages(bag, reading):
            pass


def judge(path: Path, params: Params) -> None:
    """Read, decode and validate: all but the search for duplicates, the report and the zarr."""
    source = describe_source(path)
    arm = ingest.arm_of(RobotModel.from_params(params.robot))
    for _ in validate_recording(source, arm, params):
        pass


def whole(path: Path, params: Params) -> None:
    """Run the whole stage in one process, without its cache."""
    with tempfile.TemporaryDirectory() as folder:
        ingest.run(params.override("ingest", cache_gb=0.0), Path(folder) / "out", path)


def again(path: Path, params: Params) -> None:
    """Run the stage again on an unchanged recording, whose results are cached in .state."""
    with tempfile.TemporaryDirectory() as folder:
        ingest.run(params, Path(folder) / "out", path)


WAYS: dict[str, Callable[[Path, Params], None]] = {
    "raw bytes, library": read_raw,
    "decoded by the library": library,
    "decoded": decode,
    "decoded and assembled": judge,
    "the whole stage": whole,
    "again, unchanged": again,
}


def seconds(way: Callable[[Path, Params], None], path: Path, params: Params) -> float:
    """CPU time of one way to read, s."""
    start = time.process_time()
    way(path, params)
    return time.process_time() - start


def measure(path: Path, params: Params, number: int, rounds: int) -> list[dict[str, Any]]:
    """Measure the rate of every way on the same bag."""
    least = dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        for name, way in WAYS.items():
            least[name] = min(least[name], seconds(way, path, params))
    megabytes = sum(file.stat().st_size for file in path.iterdir()) / 1e6
    return [
        {"way": name, "plans_s": round(number / s), "mb_s": round(megabytes / s, 1)}
        for name, s in least.items()
    ]


def peak_mb(path: Path) -> float:
    """Peak resident memory of a process that ingests a bag, or of its largest worker, MB."""
    command = [sys.executable, "-m", "bench.ingest", "--ingest", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure and write bench/results/ingest.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--plans", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-mb", type=int, default=500)
    parser.add_argument("--ingest", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    params = load_params(options.params)
    if options.ingest is not None:
        whole(options.ingest, params)
        own, children = (
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        sys.stdout.write(f"\n{max(own, children) / 1e3:.0f}\n")
        return
    console.quiet = True
    with tempfile.TemporaryDirectory() as folder:
        bag = write_plans(Path(folder) / "plans", params, options.plans)
        few = write_plans(Path(folder) / "few", params, 20)
        fixed = min(seconds(whole, few, params) for _ in range(options.rounds + 1))
        rates = measure(bag, params, options.plans, options.rounds)
        memory = []
        for megabytes in (options.memory_mb // 10, options.memory_mb) if options.memory_mb else ():
            big = write_plans(Path(folder) / f"of_{megabytes}", params, megabytes * 88)
            size = sum(file.stat().st_size for file in big.iterdir()) / 1e6
            memory.append({"bag_mb": round(size), "peak_mb": peak_mb(big)})
    console.quiet = False
    table = Table("way", "plans/s", "MB/s", title="60-point six-joint plans, by CPU time")
    for row in rates:
        table.add_row(row["way"], f"{row['plans_s']:,}", f"{row['mb_s']:g}")
    console.print(table)
    console.print(f"{fixed:.2f} s of the whole stage are fixed: a bag of 20 plans takes them too")
    for row in memory:
        console.print(f"a bag of {row['bag_mb']} MB: peak memory {row['peak_mb']:.0f} MB")
    libraries = versions("rosbags", "numpy", "zarr")
    write_json(
        RESULTS,
        {
            "plans": options.plans,
            "rates": rates,
            "fixed_s": round(fixed, 3),
            "memory": memory,
            "versions": libraries,
        },
    )


if __name__ == "__main__":
    main()
