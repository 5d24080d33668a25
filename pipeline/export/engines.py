"""Build TensorRT engines from policy.onnx, run those that this machine can run, and report.

One code path serves `tensorrt` (for the GPU of this machine) and `tensorrt_rtx` (ahead of time, for
GPUs that are not there). Libraries run in a child process (`engine_worker`): one that crashes
without a driver becomes a line of the report. An engine that did not run is called built, not run.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.machine import available_cores
from pipeline.runtime.backends.driver_process import Gpu, call_worker, find_gpus
from pipeline.runtime.backends.engine_store import (
    BuildOptions,
    EngineStoreError,
    build,
    default_cache,
    engine_name,
    fitting_engine,
    library_version,
)

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class EngineReport:
    """The result of one build."""

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
        """A JSON form without the unknown fields."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Check:
    """Inputs and expected outputs for engines that can run here."""

    inputs: dict[str, Float32]
    """The graph's inputs by name; the first axis of each is B."""
    action: Float32
    """ONNX Runtime's answer, rad, shape (B, H, A)."""


def build_engines(
    graph: Path,
    folder: Path,
    targets: tuple[str, ...],
    batch: tuple[int, int, int],
    check: Check,
    options: BuildOptions | None = None,
) -> Iterator[EngineReport]:
    """Build every engine that can be built here, those for absent GPUs on all cores.

    Args:
        graph: policy.onnx.
        folder: where engines and their sidecars go.
        targets: compute capabilities for TensorRT-RTX, ahead of time.
        batch: least, usual and most observations of a call.
        check: inputs and expected outputs, used where the GPU is there.
        options: how engines are built, in addition to what the graph determines.

    Yields:
        One report per engine, "tensorrt" last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gpus, reason = find_gpus()
    here = gpus[0].capability if gpus else None
    plan: list[tuple[str, str | None]] = [("tensorrt-rtx", target) for target in targets]

    def built(backend: str, target: str | None) -> dict[str, Any]:
        if target is None:
            absent = f"it builds only on the GPU that it is for: {reason}"
            return {"status": "skipped", "reason": absent}
        gpu = gpus[0] if backend == "tensorrt" else None
        file = folder / engine_name(backend, target)
        answer = build(graph, file, backend, target, batch, options, gpu)
        if answer["status"] == "built":
            answer["file"] = f"{folder.name}/{file.name}"
        return answer

    # Each build is a process of its own. On a GPU full TensorRT times its kernels, alone.
    with ThreadPoolExecutor(available_cores()) as pool:
        ahead = list(pool.map(lambda each: built(*each), plan))
    answers = chain(ahead, map(built, ("tensorrt",), (here,)))
    for (backend, target), answer in zip([*plan, ("tensorrt", here)], answers, strict=True):
        status = answer.pop("status")
        if status != "built":
            yield EngineReport(backend, target, status, **answer)
        elif target != here:
            absent = f"no GPU of this kind here: {reason or f'it has {here}'}"
            yield EngineReport(backend, target, "built, not run", absent, **answer)
        else:
            yield _run(backend, target, folder.parent / answer["file"], check, answer)


def build_here(graph: Path, cache: Path) -> list[EngineReport]:
    """Find or build an engine of each library for the GPU of this machine.

    Args:
        graph: policy.onnx; engines are looked for beside it.
        cache: where new ones go, and where `load_policy` finds them.
    """
    gpus, reason = find_gpus()
    found = []
    for backend in ("tensorrt", "tensorrt-rtx"):
        version, absent = library_version(backend)
        if not gpus:
            found.append(EngineReport(backend, None, "skipped", f"there is no GPU: {reason}"))
        elif version is None:
            found.append(EngineReport(backend, gpus[0].capability, "skipped", absent))
        else:
            found.append(_fitting(graph, backend, version, gpus[0], cache))
    return found


def _fitting(graph: Path, backend: str, version: str, gpu: Gpu, cache: Path) -> EngineReport:
    try:
        engine = fitting_engine(graph, backend, version, gpu, cache)
    except EngineStoreError as error:
        return EngineReport(backend, gpu.capability, "failed", str(error), version)
    return EngineReport(backend, gpu.capability, "built", version=version, file=str(engine))


def _run(
    backend: str,
    target: str | None,
    file: Path,
    check: Check,
    built: dict[str, Any],
) -> EngineReport:
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = (Path(folder, name) for name in ("inputs.npz", "outputs.npz"))
        np.savez(inputs, allow_pickle=False, **check.inputs)
        task = {"engine": str(file), "inputs": str(inputs), "outputs": str(outputs)}
        module = backend.replace("-", "_")
        answer = call_worker({"kind": "run", "module": module, **task})
        if answer["status"] != "run":
            return EngineReport(backend, target, "built, not run", answer["reason"], **built)
        with np.load(outputs) as arrays:
            difference = float(np.abs(arrays["action"] - check.action).max())
    return EngineReport(backend, target, "built and run", max_abs_rad=difference, **built)


def main(folder: Path) -> int:
    """Build engines for this machine's GPU and print a line for each.

    The command is `python -m pipeline.export.engines FOLDER`.

    Args:
        folder: of stage export.

    Returns:
        Exit status: 0 where there is an engine.
    """
    graph = folder / "policy.onnx"
    if not graph.is_file():
        print(f"error: {graph}: no such file; run `python -m pipeline export` first")
        return 1
    reports = build_here(graph, default_cache())
    for report in reports:
        print(f"{report.backend}: {report.status}: {report.reason or report.file}")
    return 0 if any(report.status == "built" for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "artifacts/export")))
