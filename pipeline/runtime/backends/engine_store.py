"""Finds or builds the engine that fits this machine.

An engine usually fails to load because it was built for another GPU or by another release. In that
case the log gets one sentence, and an engine is built from policy.onnx. Imports neither torch nor
rich.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.hashing import sha256_file
from pipeline.runtime.backends.driver_process import Gpu, call_worker
from pipeline.runtime.backends.engine_sidecar import mismatch, read_profile

logger = logging.getLogger(__name__)


class EngineStoreError(PipelineError):
    """There is no engine for this machine."""


def default_cache() -> Path:
    """Return the cache folder for engines, in `$XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        EngineStoreError: this user has no home folder.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise EngineStoreError(
            "this user has no home folder to keep engines and policies in; name one with "
            "load_policy(cache=…) or XDG_CACHE_HOME"
        ) from error
    return Path(base) / "moveit2-diffusion-policy" / "engines"


def library_version(backend: str) -> tuple[str | None, str]:
    """Find the version of a backend's library in a child process.

    Args:
        backend: tensorrt or tensorrt-rtx.

    Returns:
        The version and an empty string, or None and the reason.
    """
    answer = call_worker({"kind": "version", "module": backend.replace("-", "_")})
    return answer.get("version"), str(answer.get("reason", ""))


def fitting_engine(
    onnx: Path, backend: str, version: str, gpu: Gpu, cache: Path, shipped: bool = True
) -> Path:
    """Find an engine that runs here: beside the graph, in the cache, or newly built.

    Args:
        onnx: policy.onnx; engines are looked for in `engines/` beside it.
        backend: tensorrt or tensorrt-rtx.
        version: version of its library.
        gpu: the GPU of this machine.
        cache: folder for engines that are built here.
        shipped: whether engines beside the graph may be loaded. An engine is code, so those of a
            fetched policy are not loaded; a new one is built from the graph.

    Raises:
        EngineStoreError: the engine cannot be built or stored, or the export found that this
            backend's output differs from the policy's.
    """
    _refuse_what_failed(onnx, backend, version, gpu)
    digest = sha256_file(onnx)
    beside = onnx.parent / "engines" / engine_name(backend, gpu.capability)
    if shipped:
        # An engine for several GPU types is named after the type it was built on.
        others = sorted(beside.parent.glob(engine_name(backend, "*")))
        problems = {
            path: mismatch(path, digest, backend, version, gpu) for path in (beside, *others)
        }
        for path, each in problems.items():
            if each is None:
                return path
        problem = str(problems[beside])
    else:
        problem = f"an engine is code, so {beside.name} of a fetched policy is not loaded"
    profile = read_profile(beside)
    # The graph's hash also covers its precision.
    key = json.dumps([digest, backend, version, gpu.capability, gpu.driver, profile])
    kept = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.engine"
    if mismatch(kept, digest, backend, version, gpu) is None:
        logger.info("%s; using the one that was built here before, %s", problem, kept)
        return kept
    logger.warning("%s; building one from %s into %s", problem, onnx, kept)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass  # a build takes minutes, so check first that the folder is writable
    except OSError as error:
        raise EngineStoreError(
            f"{problem}; a new one cannot be kept in {cache}: {error}; name a writable "
            "folder with load_policy(cache=…) or XDG_CACHE_HOME"
        ) from error
    options = BuildOptions(timing_cache=cache / f"timing-{gpu.capability}-{version}.cache")
    answer = build(onnx, kept, backend, gpu.capability, profile, options, gpu)
    if answer["status"] != "built":
        raise EngineStoreError(f"{problem}; building one: {answer['status']}: {answer['reason']}")
    return kept


def _refuse_what_failed(onnx: Path, backend: str, version: str, gpu: Gpu) -> None:
    """Raise if the export's report says that this backend failed its comparison on this GPU."""
    try:
        reports = json.loads((onnx.parent / "export.json").read_text())["backends"][backend]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for report in reports:
        here = report.get("target") == gpu.capability and report.get("version") == version
        # The key `seconds` means that the build succeeded, so the comparison must have failed.
        if here and report.get("status") == "failed" and "seconds" in report:
            raise EngineStoreError(f"its export says: {report.get('reason')}")


def engine_name(backend: str, capability: str) -> str:
    """Return the file name of an engine.

    Args:
        backend: tensorrt or tensorrt-rtx.
        capability: for instance "8.9".
    """
    return f"policy-{backend}-sm{capability.replace('.', '')}.engine"


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build; precision and shapes come from the graph."""

    version_compatible: bool = False
    """Whether later releases of the library can run the engine (full TensorRT only)."""
    hardware_compatible: bool = False
    """Whether every GPU from Ampere on can run the engine (full TensorRT only)."""
    timing_cache: Path | None = None
    """File in which full TensorRT stores its timings on this GPU for the next build."""


def build(
    onnx: Path,
    engine: Path,
    backend: str,
    capability: str,
    batch: tuple[int, int, int],
    options: BuildOptions | None = None,
    gpu: Gpu | None = None,
) -> dict[str, Any]:
    """Build one engine and its sidecar.

    Args:
        onnx: policy.onnx.
        engine: the file to write.
        backend: tensorrt or tensorrt-rtx.
        capability: compute capability; full TensorRT builds only for the GPU of this machine.
        batch: smallest, usual and largest number of observations per call.
        options: flags and timing cache; None for none.
        gpu: the GPU to build on; None for a build ahead of time.

    Returns:
        The worker's answer: `status` built with `version`, `seconds` and `bytes`; or skipped or
        failed with the `reason`.
    """
    from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

    policy = OnnxRuntimePolicy(onnx)
    chosen = options or BuildOptions()
    # TensorRT-RTX accepts the flags, but compiles for the GPU only when it loads the engine.
    full = backend == "tensorrt"
    flags = {
        "version_compatible": full and chosen.version_compatible,
        "hardware_compatible": full and chosen.hardware_compatible,
    }
    cache = str(chosen.timing_cache) if full and chosen.timing_cache else None
    answer = call_worker(
        {
            "kind": "build",
            "module": backend.replace("-", "_"),
            "onnx": str(onnx),
            "engine": str(engine),
            "capability": capability if backend == "tensorrt-rtx" else None,
            "batch": list(batch),
            **flags,
            "timing_cache": cache,
            "inputs": policy.input_shapes,
        }
    )
    if answer["status"] != "built":
        return answer
    least, usual, most = batch
    sidecar = {
        "engine_sha256": sha256_file(engine),
        "onnx_sha256": sha256_file(onnx),
        "backend": backend,
        "version": answer["version"],
        "compute_capability": capability,
        "precision": policy.precision,
        "denoising": policy.denoising,
        **flags,
        "gpu": gpu.name if gpu else None,
        "driver": gpu.driver if gpu else None,
        "profile": {"min_batch": least, "opt_batch": usual, "max_batch": most},
        "rate_hz": policy.rate_hz,
        "config": policy.config,
        "layout": policy.layout.to_dict(),
    }
    partial = engine.with_suffix(".json.partial")
    partial.write_text(json.dumps(sidecar, indent=1))
    partial.replace(engine.with_suffix(".json"))
    return answer
