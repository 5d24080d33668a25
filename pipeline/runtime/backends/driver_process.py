"""Runs a task in a child process, so that a library that crashes does not end this one.

TensorRT crashes where there is no driver. Imports neither torch nor rich, as a robot has neither.
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
"""Longest wait for a build, s; a large U-Net takes full TensorRT minutes."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that the driver reports."""

    name: str
    capability: str
    """Compute capability, for instance "8.9"."""
    driver: str = ""
    """Newest CUDA version that the driver supports, for instance "13.0"."""


def find_gpus() -> tuple[list[Gpu], str]:
    """The GPUs of this machine, or none and the reason."""
    answer = call_worker({"kind": "gpus"})
    return [Gpu(**gpu) for gpu in answer.get("gpus", [])], str(answer.get("reason", ""))


def call_worker(task: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Run a task in a child process.

    Args:
        task: see `engine_worker`.
        timeout_s: longest wait for the answer; the child is then killed.

    Returns:
        The worker's answer; `status` failed and a `reason` where the child crashed.
    """
    command = [sys.executable, "-m", "pipeline.runtime.backends.engine_worker"]
    # The child must find this very package, whatever folder the parent was started in.
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
