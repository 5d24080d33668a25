"""Measure how long computing whole motions ahead takes, for one robot on one core.

    python -m bench.rehearsal --model artifacts/export/policy.onnx --params params.yaml

The first `act` of an episode computes the policy's own motion, and others if that does not arrive.
Objects and obstacles are drawn as in an evaluation. CPU time, ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from pipeline.machine import processor
from pipeline.params import load_params
from pipeline.robot.arrangement import sample_object
from pipeline.robot.planner import Planner
from pipeline.runtime.load import load_policy

RESULT = Path(__file__).parent / "results" / "rehearsal.json"


def main() -> None:
    """Measure and write bench/results/rehearsal.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("artifacts/export/policy.onnx"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--calls", type=int, default=60, help="number of episodes")
    given = parser.parse_args()
    params = load_params(given.params)
    planner = Planner(params.robot, params.task, params.collect)
    policy, rng = load_policy(given.model, "onnxruntime"), np.random.default_rng(0)
    spent: dict[str, list[float]] = {"later act": [], "own motion": [], "own and others": []}
    for _ in range(given.calls):
        position, axis = sample_object(params.task, rng)
        rows = planner.arrange(position, axis, rng)
        policy.reset()
        for index in range(2):
            started = time.process_time()
            policy.act({"joint_pos": params.robot.home_rad, "pen_pos": position,
                        "pen_axis": axis, "obstacles": rows})  # fmt: skip
            took = 1e3 * (time.process_time() - started)
            redirected = policy.report().redirected
            name = "own and others" if redirected is not None and redirected[0] else "own motion"
            spent["later act" if index else name].append(took)
    found = {
        name: {"calls": len(values), "median_ms": round(float(np.median(values)), 2),
               "p95_ms": round(float(np.percentile(values, 95)), 2)}
        for name, values in spent.items() if values
    }  # fmt: skip
    RESULT.write_text(json.dumps({"processor": processor(), **found}, indent=2) + "\n")
    for name, row in found.items():
        print(f"{name:16} {row}")


if __name__ == "__main__":
    main()
