"""Work in a child process: a library that crashes for want of a driver costs a line, not the run.

Imports neither torch nor rich, so that a robot may use it.
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
"""Longest build; a large U-Net with full TensorRT takes minutes."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that the driver reports."""

    name: str
    capability: str
    """Compute capability, for instance "8.9"."""
    driver: str = ""
    """Newest CUDA version that the driver serves, for instance "13.0"."""


def find_gpus() -> tuple[list[Gpu], str]:
    """GPUs of this machine, and the reason where there is none. Asked in a child process."""
    answer = call_worker({"kind": "gpus"})
    return [Gpu(**gpu) for gpu in answer.get("gpus", [])], str(answer.get("reason", ""))


def call_worker(task: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Do a task in a child process.

    Args:
        task: see `engine_worker`.
        timeout_s: after that many seconds the child is ended.

    Returns:
        The worker's outcome; `status` failed with the `reason` where the child crashed.
    """
    command = [sys.executable, "-m", "pipeline.runtime.backends.engine_worker"]
    # By module name, not by path: this folder's onnx.py would hide the library's. So the child must
    # find this very package, from whatever folder the parent was started in.
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
