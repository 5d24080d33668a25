"""Which engine fits here: sidecars read, mismatches named, engines rebuilt into a cache.

Users' commonest trouble is an engine that was built for another GPU or by another release. Here it
is one sentence in the log and a build from policy.onnx. Imports neither torch nor rich.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.hashing import sha256_file
from pipeline.runtime.backends.driver_process import Gpu, call_worker

logger = logging.getLogger(__name__)


class EngineStoreError(PipelineError):
    """No engine can be had for this machine."""


def default_cache() -> Path:
    """Where rebuilt engines are kept: `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "moveit2-diffusion-policy" / "engines"


def library_version(backend: str) -> tuple[str | None, str]:
    """Version of a backend's library, asked in a child process.

    Args:
        backend: tensorrt or tensorrt-rtx.

    Returns:
        The version and nothing, or None and the reason.
    """
    answer = call_worker({"kind": "version", "module": backend.replace("-", "_")})
    return answer.get("version"), str(answer.get("reason", ""))


def mismatch(engine: Path, onnx_sha256: str, backend: str, version: str, gpu: Gpu) -> str | None:
    """Why an engine cannot be used here, as one sentence; None where it can.

    Args:
        engine: the file; its sidecar is beside it.
        onnx_sha256: of the policy that it must do the work of.
        backend: tensorrt or tensorrt-rtx.
        version: of the library that is installed.
        gpu: that is here.
    """
    sidecar = engine.with_suffix(".json")
    if not engine.is_file():
        return f"there is no engine {engine.name}"
    if not sidecar.is_file():
        return f"{engine.name} has no sidecar {sidecar.name}, so nothing is known of it"
    try:
        known: dict[str, Any] = json.loads(sidecar.read_text())
    except ValueError:
        return f"{sidecar.name} is no JSON, so nothing is known of the engine"
    wanted = {
        "backend": (backend, "was built by {}, but {} is asked for"),
        "version": (version, f"was built by {backend} {{}}, but {{}} is installed"),
        "compute_capability": (gpu.capability, "is for compute capability {}, this GPU has {}"),
        "onnx_sha256": (
            onnx_sha256,
            "was made from another policy.onnx ({:.8}… instead of {:.8}…)",
        ),
        "engine_sha256": (sha256_file(engine), "is corrupted (hash {:.8}… expected, {:.8}… found)"),
    }
    for key, (here, sentence) in wanted.items():
        if known.get(key) != here:
            return f"{engine.name} {sentence.format(str(known.get(key)), here)}"
    return None


def fitting_engine(onnx: Path, backend: str, version: str, gpu: Gpu, cache: Path) -> Path:
    """An engine that runs here: the one beside the graph, one of the cache, or a new one.

    Args:
        onnx: policy.onnx; engines are looked for in `engines/` beside it.
        backend: tensorrt or tensorrt-rtx.
        version: of its library.
        gpu: that is here.
        cache: folder of rebuilt engines.

    Raises:
        EngineStoreError: it cannot be built.
    """
    digest = sha256_file(onnx)
    beside = onnx.parent / "engines" / engine_name(backend, gpu.capability)
    problem = mismatch(beside, digest, backend, version, gpu)
    if problem is None:
        return beside
    profile = _profile(beside)
    # The graph's hash stands for its precision, too.
    key = json.dumps([digest, backend, version, gpu.capability, gpu.driver, profile])
    kept = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.engine"
    if mismatch(kept, digest, backend, version, gpu) is None:
        logger.info("%s; using the one that was rebuilt before, %s", problem, kept)
        return kept
    logger.warning("%s; building it anew from %s into %s", problem, onnx, kept)
    cache.mkdir(parents=True, exist_ok=True)
    options = BuildOptions(timing_cache=cache / f"timing-{gpu.capability}-{version}.cache")
    answer = build(onnx, kept, backend, gpu.capability, profile, options, gpu)
    if answer["status"] != "built":
        raise EngineStoreError(
            f"{problem}; building it anew: {answer['status']}: {answer['reason']}"
        )
    return kept


def engine_name(backend: str, capability: str) -> str:
    """File of an engine.

    Args:
        backend: tensorrt or tensorrt-rtx.
        capability: for instance "8.9".
    """
    return f"policy-{backend}-sm{capability.replace('.', '')}.engine"


@dataclass(frozen=True)
class BuildOptions:
    """How engines are built, beside what the graph says."""

    version_compatible: bool = False
    """For later releases of the library too (full TensorRT)."""
    hardware_compatible: bool = False
    """For every GPU from Ampere on (full TensorRT)."""
    timing_cache: Path | None = None
    """File in which full TensorRT keeps what it timed on this GPU, for the next build."""


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
        capability: compute capability; full TensorRT builds for the GPU of this machine alone.
        batch: least, usual and most observations of a call.
        options: flags and timing cache; None for none.
        gpu: that it is built on; None where it is built ahead of time.

    Returns:
        The worker's answer: `status` built with `version`, `seconds` and `bytes`; or skipped or
        failed with the `reason`.
    """
    from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

    policy = OnnxRuntimePolicy(onnx)
    chosen = options or BuildOptions()
    # TensorRT-RTX has the flags in its interface and compiles for the GPU when it loads instead.
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
            "obs": [int(policy.config["n_obs_steps"]), policy.layout.state_dim],
            "noise": [int(policy.config["horizon"]), policy.layout.action_dim],
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


def _profile(engine: Path) -> tuple[int, int, int]:
    """Batch sizes of the engine that this one stands in for; one observation where unknown."""
    try:
        profile = json.loads(engine.with_suffix(".json").read_text())["profile"]
        return int(profile["min_batch"]), int(profile["opt_batch"]), int(profile["max_batch"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1, 1, 64
