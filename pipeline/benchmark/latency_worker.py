"""Times one backend in a separate process: `python -m pipeline.benchmark.latency_worker`.

The separate process allows memory and start-up time to be measured. The task is a JSON line on
standard input; the first answer holds the loading time; each further line requests some calls.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np


def serve(requests: TextIO, answers: TextIO) -> None:
    """Load a policy, then time the calls that each line requests until the input ends.

    Args:
        requests: a line {"path", "backend", "threads", "deployment"} (deployment as JSON text),
            then lines {"calls", "batch"}.
        answers: lines {"load_s", "rss_mb", "device"}, then {"ms": one number per call,
            "peak_rss_mb"}; or {"error"} if the policy does not load.
    """
    task = json.loads(requests.readline())
    started = time.perf_counter()
    from pipeline.errors import PipelineError
    from pipeline.obstacles import COLUMNS
    from pipeline.policy.observation import obstacle_slots
    from pipeline.runtime.deployment import Deployment
    from pipeline.runtime.load import load_policy

    try:
        policy = load_policy(
            task["path"],
            task["backend"],
            deployment=Deployment.from_json(task["deployment"], "the task"),
            threads=task["threads"],
            prepare=False,
        )
    except PipelineError as error:
        _say(answers, {"error": str(error)})
        return
    if task["backend"] == "torch":
        import torch

        torch.set_num_threads(task["threads"])
    config, layout = policy.backend.config, policy.layout
    rng = np.random.default_rng(0)
    chunk = (int(config["horizon"]), layout.action_dim)
    width = layout.state_dim + obstacle_slots(config) * COLUMNS
    seen = (int(config["n_obs_steps"]), width)

    def calls(number: int, batch: int) -> list[float]:
        obs = rng.uniform(0.1, 0.5, (batch, *seen)).astype(np.float32)
        noise = rng.standard_normal((batch, *chunk), dtype=np.float32)
        times = []
        for _ in range(number):
            begun = time.perf_counter()
            policy.backend.predict(obs, noise)
            times.append(1e3 * (time.perf_counter() - begun))
        return times

    (first_ms,) = calls(1, 1)
    _say(answers, {"load_s": time.perf_counter() - started, "first_call_ms": first_ms})
    for line in requests:
        asked = json.loads(line)
        _say(answers, {"ms": calls(asked["calls"], asked["batch"]), "peak_rss_mb": peak_rss_mb()})


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MB (10⁶ bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            # ru_maxrss is no use here: on Linux, exec keeps the parent's value.
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _say(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
