"""Reads the JSON file beside an engine and checks whether the engine fits this machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pipeline.hashing import sha256_file
from pipeline.runtime.backends.driver_process import Gpu

AMPERE = (8, 0)
"""Compute capability from which hardware-compatible engines run."""


def read_sidecar(engine: Path) -> dict[str, Any]:
    """Read an engine's sidecar; the result is empty if it is missing or unreadable.

    Args:
        engine: the engine's file; its sidecar has the same name and the suffix .json.
    """
    try:
        content = json.loads(engine.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_profile(engine: Path) -> tuple[int, int, int]:
    """Read the smallest, usual and largest batch of an engine; 1, 1 and 64 if unknown.

    Args:
        engine: the engine's file, which need not exist.
    """
    try:
        profile = read_sidecar(engine)["profile"]
        return int(profile["min_batch"]), int(profile["opt_batch"]), int(profile["max_batch"])
    except (KeyError, TypeError, ValueError):
        return 1, 1, 64


def mismatch(engine: Path, onnx_sha256: str, backend: str, version: str, gpu: Gpu) -> str | None:
    """Explain in one sentence why an engine cannot be used here; None if it can.

    A version-compatible engine runs on the release that built it and later ones, a
    hardware-compatible engine on every GPU from Ampere on (TensorRT documentation, "Engine
    Compatibility").

    Args:
        engine: the engine file, with its sidecar beside it.
        onnx_sha256: hash of the policy.onnx that the engine must have been built from.
        backend: tensorrt or tensorrt-rtx.
        version: version of the installed library.
        gpu: the GPU of this machine.
    """
    sidecar = engine.with_suffix(".json")
    if not engine.is_file():
        return f"there is no engine {engine.name}"
    if not sidecar.is_file():
        return f"{engine.name} has no sidecar {sidecar.name}, so nothing is known of it"
    known = read_sidecar(engine)
    if not known:
        return f"{sidecar.name} holds no JSON object, so nothing is known of the engine"
    built_by, built_for = str(known.get("version")), str(known.get("compute_capability"))
    if known.get("version_compatible") and (0,) < _numbers(built_by) <= _numbers(version):
        built_by = version
    if known.get("hardware_compatible") and _numbers(gpu.capability) >= AMPERE:
        built_for = gpu.capability
    found = {
        "was built by {}, but {} is asked for": (str(known.get("backend")), backend),
        f"was built by {backend} {{}}, but {{}} is installed": (built_by, version),
        "is for compute capability {}, this GPU has {}": (built_for, gpu.capability),
        "was made from another policy.onnx ({:.8}… instead of {:.8}…)": (
            str(known.get("onnx_sha256")),
            onnx_sha256,
        ),
        "is corrupted (hash {:.8}… expected, {:.8}… found)": (
            str(known.get("engine_sha256")),
            sha256_file(engine),
        ),
    }
    return next(
        (
            f"{engine.name} {sentence.format(engine_has, here)}"
            for sentence, (engine_has, here) in found.items()
            if engine_has != here
        ),
        None,
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Split a release or compute capability into comparable numbers; empty if it is neither."""
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        return ()
    return tuple(int(number) for number in version.split("."))
