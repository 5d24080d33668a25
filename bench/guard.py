"""Measure the guard's CPU time per chunk and per control step, for one robot on one core.

    python -m bench.guard [--calls 200]

Chunks are straight motions from random poses around home, as long as a policy's chunks, slow and
fast, with the arm already in motion. They run in the free scene and among six random boxes. The
results are grouped by the guard's verdict.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.objects import Objects
from pipeline.machine import processor
from pipeline.params import Params, load_params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.runtime.guard.guard import Guard
from pipeline.runtime.limiter import Limiter

Array = NDArray[np.float64]
RATE_HZ = 30.0
RESULT = Path(__file__).parent / "results" / "guard.json"
SPEEDS_RAD_S = (0.05, 0.5)
"""Largest speed of a joint, rad/s: shortly before the arm stops, and on its way."""
SPREAD_RAD = 0.6
"""Largest distance of each joint from the home pose at the start, rad."""


def main() -> None:
    """Measure and write bench/results/guard.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="number of chunks at each speed")
    calls = parser.parse_args().calls
    params = load_params(Path("params.yaml"))
    rng = np.random.default_rng(0)
    centre = rng.uniform([0.25, -0.4, 0.3], [0.7, 0.4, 0.9], (6, 3))
    size = rng.uniform(0.04, 0.15, (6, 3))
    boxes = [
        {"centre_m": c, "size_m": s} for c, s in zip(centre.tolist(), size.tolist(), strict=True)
    ]
    scenes = {"free": [], "six boxes": boxes}
    rows = {
        name: _measure(params.override("task", scene=name, scenes=scenes), calls) for name in scenes
    }
    RESULT.write_text(json.dumps({"processor": processor(), "scenes": rows}, indent=2) + "\n")
    for name, found in rows.items():
        for verdict, row in found.items():
            print(f"{name:10} {verdict:10} {row}")


def _measure(params: Params, calls: int) -> dict[str, Any]:
    """CPU time by verdict, ms: per chunk, and per control step (a chunk has `execute_steps`)."""
    robot, rng = RobotModel.from_params(params.robot), np.random.default_rng(1)
    execution = params.override("execution", guard="repair").execution
    shapes = collision_geometry(params.robot, params.task)
    guard = Guard(execution, kinematic_chain(robot), robot.joints, shapes, robot.limits)
    limiter = Limiter(robot.limits, RATE_HZ)
    taken: dict[str, list[float]] = {}
    steps = np.arange(1, params.policy.horizon + 1)[:, None] / RATE_HZ
    for speed in SPEEDS_RAD_S:
        for _ in range(calls):
            pen = Objects(
                rng.uniform([0.25, -0.15, 0.1], [0.6, 0.15, 0.5], (1, 3)), np.array([[0, 0, 1.0]])
            )
            start = robot.home + rng.uniform(-SPREAD_RAD, SPREAD_RAD, len(robot.home))
            start = np.clip(start, robot.lower + 0.5, robot.upper - 0.5)
            velocity = rng.uniform(-speed, speed, len(robot.home))
            _under_way(limiter, start, velocity)
            plan = limiter.position[:, None] + steps * velocity
            guard.reset(1)
            started = time.process_time()
            guard.review(plan, limiter, pen)
            spent = 1e3 * (time.process_time() - started)
            finding = guard.report().last[0]
            taken.setdefault(finding.verdict, []).append(spent)
    return {
        verdict: {
            "chunks": len(spent),
            "median_ms_a_chunk": round(float(np.median(spent)), 3),
            "p95_ms_a_chunk": round(float(np.percentile(spent, 95)), 3),
            "median_ms_a_control_step": round(float(np.median(spent)) / execution.execute_steps, 3),
        }
        for verdict, spent in taken.items()
    }


def _under_way(limiter: Limiter, start: Array, velocity: Array) -> None:
    """Accelerate a limiter's arm to a velocity, rad/s, near a pose, rad, within the limits."""
    limiter.reset(start[None])
    for share in np.linspace(0, 1, 16)[1:]:
        here = limiter.position + share * velocity / RATE_HZ
        limiter.step(here, here + velocity / RATE_HZ)
    here = limiter.position + velocity / RATE_HZ
    limiter.step(here, here + velocity / RATE_HZ)


if __name__ == "__main__":
    main()
