"""TensorRT engines from policy.onnx: which ones, built where, and what became of each.

One code path serves `tensorrt` (for the GPU of this machine) and `tensorrt_rtx` (ahead of time, for
GPUs that are not there). Libraries run in a child process (`engine_worker`): one that crashes for
want of a driver becomes a line of the report. An engine that did not run is called built, not run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.policy.backends import OnnxRuntimePolicy
from pipeline.run import sha256_file, write_json

Float32 = NDArray[np.float32]

TIMEOUT_S = 1800
"""Longest build; a large U-Net with full TensorRT takes minutes."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that the driver reports."""

    name: str
    capability: str
    """Compute capability, for instance "8.9"."""


@dataclass(frozen=True)
class EngineReport:
    """What became of one engine."""

    backend: str
    """tensorrt or tensorrt-rtx."""
    target: str | None
    """Compute capability that it is for; None where no GPU is known."""
    status: str
    """built and run · built, not run · skipped · failed."""
    reason: str | None = None
    """Why it was skipped, not run, or failed."""
    version: str | None = None
    """Of the library; an engine runs on that version alone."""
    file: str | None = None
    seconds: float | None = None
    """Time of the build."""
    bytes: int | None = None
    max_abs_rad: float | None = None
    """Largest difference from ONNX Runtime, rad, where it ran."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON form, without what is not known."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Check:
    """What an engine that can run is compared on."""

    obs: Float32
    """Shape (B, T, S)."""
    noise: Float32
    """Shape (B, H, A)."""
    action: Float32
    """What ONNX Runtime makes of them, rad, shape (B, H, A)."""


def find_gpus() -> tuple[list[Gpu], str]:
    """GPUs of this machine, and the reason where there is none. Asked in a child process."""
    answer = call_worker({"kind": "gpus"})
    return [Gpu(**gpu) for gpu in answer.get("gpus", [])], str(answer.get("reason", ""))


def build_engines(
    onnx: Path, folder: Path, targets: tuple[str, ...], batch: tuple[int, int, int], check: Check
) -> Iterator[EngineReport]:
    """Build every engine that can be built here, one after the other.

    Args:
        onnx: policy.onnx.
        folder: where engines and their sidecars go.
        targets: compute capabilities for TensorRT-RTX, ahead of time.
        batch: least, usual and most observations of a call.
        check: what an engine is compared on where its GPU is there.

    Yields:
        A report an engine, "tensorrt" last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gpus, reason = find_gpus()
    here = gpus[0].capability if gpus else None
    policy = OnnxRuntimePolicy(onnx)
    task = {
        "kind": "build",
        "onnx": str(onnx),
        "batch": list(batch),
        "obs": [int(policy.config["n_obs_steps"]), policy.layout.state_dim],
        "noise": [int(policy.config["horizon"]), policy.layout.action_dim],
    }
    plan: list[tuple[str, str | None]] = [("tensorrt-rtx", target) for target in targets]
    for backend, target in [*plan, ("tensorrt", here)]:
        if backend == "tensorrt" and here is None:
            reason_here = f"it builds only on the GPU that it is for: {reason}"
            yield EngineReport(backend, None, "skipped", reason_here)
            continue
        file = folder / f"policy-{backend}-sm{str(target).replace('.', '')}.engine"
        capability = target if backend == "tensorrt-rtx" else None
        module = backend.replace("-", "_")
        answer = call_worker(
            {**task, "module": module, "engine": str(file), "capability": capability}
        )
        status = answer.pop("status")
        if status != "built":
            yield EngineReport(backend, target, status, **answer)
            continue
        _write_sidecar(file, onnx, policy, backend, target, batch, answer)
        answer["file"] = f"{folder.name}/{file.name}"
        if target != here:
            absent = f"no GPU of this kind here: {reason or f'it has {here}'}"
            yield EngineReport(backend, target, "built, not run", absent, **answer)
        else:
            yield _run(backend, target, module, file, check, answer)


def _run(
    backend: str,
    target: str | None,
    module: str,
    file: Path,
    check: Check,
    built: dict[str, Any],
) -> EngineReport:
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = (Path(folder, name) for name in ("inputs.npz", "outputs.npz"))
        np.savez(inputs, obs=check.obs, noise=check.noise)
        task = {"engine": str(file), "inputs": str(inputs), "outputs": str(outputs)}
        answer = call_worker({"kind": "run", "module": module, **task})
        if answer["status"] != "run":
            return EngineReport(backend, target, "built, not run", answer["reason"], **built)
        with np.load(outputs) as arrays:
            difference = float(np.abs(arrays["action"] - check.action).max())
    return EngineReport(backend, target, "built and run", max_abs_rad=difference, **built)


def _write_sidecar(
    file: Path,
    onnx: Path,
    policy: OnnxRuntimePolicy,
    backend: str,
    target: str | None,
    batch: tuple[int, int, int],
    built: dict[str, Any],
) -> None:
    """What a runtime must know before it loads the engine."""
    least, usual, most = batch
    sidecar = {
        "engine_sha256": sha256_file(file),
        "onnx_sha256": sha256_file(onnx),
        "backend": backend,
        "version": built["version"],
        "compute_capability": target,
        "profile": {"min_batch": least, "opt_batch": usual, "max_batch": most},
        "rate_hz": policy.rate_hz,
        "config": policy.config,
        "layout": policy.layout.to_dict(),
    }
    write_json(file.with_suffix(".json"), sidecar)


def call_worker(task: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Do a task in a child process.

    Args:
        task: see `engine_worker`.
        timeout_s: after that many seconds the child is ended.

    Returns:
        The worker's outcome; `status` failed with the `reason` where the child crashed.
    """
    command = [sys.executable, "-m", "pipeline.policy.engine_worker"]
    # By module name, not by path: this folder's onnx.py would hide the library's. So the child must
    # find this very package, from whatever folder the parent was started in.
    root = Path(__file__).parents[2]
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
