"""Runs a task in a child process, so that a crashing library does not end this process.

TensorRT crashes without a driver. Imports neither torch nor rich, since a robot has neither.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 1800
"""Time limit of a build, s; full TensorRT needs minutes for a large U-Net."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that the driver reports."""

    name: str
    capability: str
    """Compute capability, for instance "8.9"."""
    driver: str = ""
    """Newest CUDA version that the driver supports, for instance "13.0"."""


def find_gpus() -> tuple[list[Gpu], str]:
    """Find the GPUs of this machine.

    Returns:
        The GPUs, and the reason if there are none.
    """
    answer = call_worker({"kind": "gpus"})
    return [Gpu(**gpu) for gpu in answer.get("gpus", [])], str(answer.get("reason", ""))


def call_worker(task: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Run a task in a child process.

    Args:
        task: see `engine_worker`.
        timeout_s: time limit after which the child is killed, s.

    Returns:
        The worker's answer; if the child crashed, `status` failed and a `reason`.
    """
    command = [sys.executable, "-m", "pipeline.runtime.backends.engine_worker"]
    # The child must import this package, whatever folder the parent was started in.
    root = Path(__file__).parents[3]
    places = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        child = subprocess.run(
            command,
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        )
    except subprocess.TimeoutExpired:
        return {"status": "failed", "reason": f"no answer after {timeout_s:.0f} s"}
    lines = child.stdout.strip().splitlines()
    if child.returncode or not lines:
        log = (child.stderr.strip() or child.stdout.strip() or "it said nothing")[-500:]
        return {"status": "failed", "reason": f"the child ended with {child.returncode}: {log}"}
    outcome: dict[str, Any] = json.loads(lines[-1])
    return outcome
