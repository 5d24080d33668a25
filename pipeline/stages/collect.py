"""Stage collect: plan demonstrations, execute them in simulation, record them as a rosbag2."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.processes import in_shards
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.robot.demonstrations import SHARD_TRIES, Demonstration, Try, demonstrate
from pipeline.robot.model import axis_quaternion
from pipeline.robot.planner import REASONS
from pipeline.run import console, output_folder, track, versions, write_json

EPOCH_NS = 1_767_225_600 * 10**9
"""Log time of the first message; fixed, so that equal parameters give equal bytes."""
SCENE_LEAD_NS = 100_000_000
"""Time from the obstacles to the object's pose; none are written where there are none."""
OBJECT_LEAD_NS = 100_000_000
"""Time from the object's pose to the plan."""
PAUSE_NS = 1_000_000_000
"""Time between the end of one execution and the next object's pose."""
TILT_BANDS = 3
HOPELESS_TRIES = 10 * SHARD_TRIES
"""Tries without any demonstration after which the stage gives up."""


class CollectError(PipelineError):
    """No demonstration can be planned with these parameters."""


@dataclass
class Statistics:
    """Counts of tries by result, and spreads of the demonstrations."""

    tilt_max_deg: float
    tries: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    bands: list[list[int]] = field(default_factory=lambda: [[0, 0] for _ in range(TILT_BANDS)])
    durations_s: list[float] = field(default_factory=list)
    end_errors_m: list[float] = field(default_factory=list)
    end_errors_deg: list[float] = field(default_factory=list)

    def add(self, attempt: Try) -> None:
        """Count one try."""
        self.tries += 1
        share = attempt.tilt_deg / self.tilt_max_deg if self.tilt_max_deg > 0 else 0.0
        band = self.bands[min(int(share * TILT_BANDS), TILT_BANDS - 1)]
        band[0] += 1
        if attempt.demonstration is None:
            self.reasons[str(attempt.reason)] += 1
            return
        band[1] += 1
        self.durations_s.append(attempt.demonstration.plan.duration_s)
        self.end_errors_m.append(attempt.demonstration.end_error_m)
        self.end_errors_deg.append(attempt.demonstration.end_error_deg)

    def report(self) -> dict[str, Any]:
        """Convert to a JSON form."""
        edges = np.linspace(0.0, self.tilt_max_deg, TILT_BANDS + 1)
        planned = len(self.durations_s)
        return {
            "episodes": planned,
            "tries": self.tries,
            "planned_share": round(planned / self.tries, 4),
            "failures": {reason: self.reasons[reason] for reason in REASONS},
            "by_tilt": [
                {"from_deg": float(low), "to_deg": float(high), "tries": tries, "planned": done}
                for low, high, (tries, done) in zip(edges, edges[1:], self.bands, strict=False)
            ],
            "duration_s": _spread(self.durations_s, 1.0),
            "end_error_mm": _spread(self.end_errors_m, 1000.0),
            "end_error_deg": _spread(self.end_errors_deg, 1.0),
        }


def run(params: Params, out: Path) -> None:
    """Plan, execute and record `collect.episodes` demonstrations.

    Writes `bag/` (a rosbag2: per episode the obstacles, the object's pose, the plan, joint states
    during its execution) and `collect.json` (tries, failures by reason and tilt, durations,
    versions). On one machine the bytes depend only on parameters and library versions, not on
    `collect.workers` and `collect.engine`.

    Args:
        params: every parameter.
        out: the folder to make or replace.

    Raises:
        CollectError: none of the first tries gives a plan.
        ModelError: the robot's description does not match params.yaml.
    """
    robot, collect = params.robot, params.collect
    statistics = Statistics(params.task.tilt_max_deg)
    demonstrations = _demonstrations(params, statistics)
    with (
        output_folder(out) as folder,
        closing(demonstrations),
        BagWriter(
            folder / "bag", collect.storage, model_id=robot.urdf.stem, frame_id=robot.base_link
        ) as bag,
    ):
        time_ns = EPOCH_NS
        for attempt, done in track(demonstrations, "Demonstrations", collect.episodes):
            time_ns = _record(bag, params, attempt, done, time_ns) + PAUSE_NS
        report = {
            **statistics.report(),
            "ik": collect.ik,
            "seed": collect.seed,
            "versions": versions("mujoco", "ompl", "pin", "toppra", "rosbags", "numpy"),
        }
        write_json(folder / "collect.json", report)
    console.print(_table(report))


def _demonstrations(
    params: Params, statistics: Statistics
) -> Generator[tuple[Try, Demonstration], None, None]:
    """Yield `collect.episodes` demonstrations with their tries, and count all tries."""
    collect = params.collect
    wanted, preload = collect.episodes, [demonstrate.__module__]
    work = partial(demonstrate, params.robot, params.task, params.collect)
    with closing(in_shards(work, collect.engine, collect.workers, preload, fresh=True)) as shards:
        for attempt in itertools.chain.from_iterable(shards):
            statistics.add(attempt)
            if attempt.demonstration is not None:
                yield attempt, attempt.demonstration
            if len(statistics.durations_s) == wanted:
                return
            if statistics.tries == HOPELESS_TRIES and not statistics.durations_s:
                reasons = ", ".join(f"{n} {reason}" for reason, n in statistics.reasons.items())
                raise CollectError(
                    f"no plan in {HOPELESS_TRIES} tries ({reasons}); expected task.cap_min_m "
                    f"{list(params.task.cap_min_m)} … cap_max_m {list(params.task.cap_max_m)} to "
                    f"lie within reach of {params.robot.urdf} and its home pose free of collisions"
                )


def _record(bag: BagWriter, params: Params, attempt: Try, done: Demonstration, time_ns: int) -> int:
    """Write one episode that starts at `time_ns`; return the log time of its last message."""
    robot, still = params.robot, params.collect.still_joints
    bag.planning_scene(time_ns - SCENE_LEAD_NS, attempt.obstacles, robot.base_link)
    bag.object_pose(
        time_ns,
        robot.base_link,
        attempt.object_pos,
        axis_quaternion(attempt.object_axis),
        topic=f"/{params.task.object}_pose",
    )
    start_ns = time_ns + OBJECT_LEAD_NS
    plan, home = done.plan, np.array(robot.home_rad)
    bag.plan(start_ns, robot.joints, plan.t, plan.joint_pos, plan.joint_vel, plan.joint_acc, home)
    names = (*robot.joints, *still)
    zeros = np.zeros(len(still))
    for t, joint_pos, joint_vel in zip(done.t, done.joint_pos, done.joint_vel, strict=True):
        state_ns = start_ns + round(float(t) * 1e9)
        positions, velocities = np.append(joint_pos, zeros), np.append(joint_vel, zeros)
        bag.joint_state(state_ns, names, positions, velocities)
    return start_ns + round(float(done.t[-1]) * 1e9)


def _spread(values: list[float], scale: float) -> dict[str, float]:
    array = scale * np.array(values)
    spread = {"min": array.min(), "median": np.median(array), "max": array.max()}
    return {name: round(float(value), 5) for name, value in spread.items()}


def _table(report: dict[str, Any]) -> Table:
    table = Table(title=f"{report['episodes']} demonstrations from {report['tries']} tries")
    for header in ("tilt of the object", "tries", "planned", "share"):
        table.add_column(header, justify="right")
    for band in report["by_tilt"]:
        share = f"{band['planned'] / band['tries']:.0%}" if band["tries"] else "–"
        tilt = f"{band['from_deg']:.0f}–{band['to_deg']:.0f}°"
        table.add_row(tilt, str(band["tries"]), str(band["planned"]), share)
    failures = ", ".join(f"{n} {reason}" for reason, n in report["failures"].items() if n)
    duration, error = report["duration_s"], report["end_error_mm"]
    table.caption = (
        f"failures: {failures or 'none'}; "
        f"plans take {duration['min']:.2f}–{duration['max']:.2f} s; "
        f"executed to within {error['max']:.2g} mm of the goal"
    )
    return table
