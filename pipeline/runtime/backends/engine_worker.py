"""Builds or runs one TensorRT engine in a separate process.

Without a driver the library may crash its process; the parent then reports this in one line. The
task is read as JSON from standard input; the last line of standard output is the answer. `tensorrt`
and `tensorrt_rtx` have the same interface and share this code. Does not import torch.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.runtime.backends.engine_runner import error_log


def build(task: dict[str, Any]) -> dict[str, Any]:
    """Build an engine from an ONNX file.

    Args:
        task: `module` (tensorrt or tensorrt_rtx), `onnx` and `engine` (paths), `capability` (for
            instance "8.9"; None for the GPU of this machine), `batch` (smallest to largest),
            `inputs` (the shape of each after the batch, by name), `version_compatible` and
            `hardware_compatible`, `timing_cache` (path; None for none).

    Returns:
        `status` built, skipped or failed; `reason` for the last two; `version` of the library;
        `seconds` and `bytes` of a built engine.
    """
    try:
        trt = importlib.import_module(task["module"])
    except Exception as error:  # a stub package may raise anything
        return {"status": "skipped", "reason": f"{task['module']} cannot be imported: {error}"}
    found = {"version": str(trt.__version__)}
    logger = error_log(trt)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(task["onnx"]):
        problems = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        return {**found, "status": "failed", "reason": f"the ONNX parser refused it: {problems}"}
    config = builder.create_builder_config()
    # No TF32: ten denoising steps with 10-bit mantissas would move joints by a milliradian.
    config.clear_flag(trt.BuilderFlag.TF32)
    if task["version_compatible"]:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if task["hardware_compatible"]:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if task["timing_cache"] is not None:
        kept = Path(task["timing_cache"])
        timings = config.create_timing_cache(kept.read_bytes() if kept.is_file() else b"")
        # A file of another GPU or release is ignored; the build then takes longer.
        config.set_timing_cache(timings or config.create_timing_cache(b""), True)
    if task["capability"] is not None:
        name = "SM" + task["capability"].replace(".", "")
        target = getattr(trt.ComputeCapability, name, None)
        if target is None:
            known = ", ".join(n for n in dir(trt.ComputeCapability) if n.startswith("SM"))
            return {**found, "status": "skipped", "reason": (
                f"TensorRT-RTX {found['version']} builds nothing for {name}, only for {known}; "
                "ONNX Runtime or full TensorRT runs the policy on such a GPU"
            )}  # fmt: skip
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)
    profile = builder.create_optimization_profile()
    for name, shape in task["inputs"].items():
        profile.set_shape(name, *((size, *shape) for size in task["batch"]))
    config.add_optimization_profile(profile)
    started = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        reason = logger.errors[-1] if logger.errors else "the builder gave no reason"
        return {**found, "status": "failed", "reason": reason}
    _write(Path(task["engine"]), bytes(engine))
    if task["timing_cache"] is not None:
        _write(Path(task["timing_cache"]), bytes(config.get_timing_cache().serialize()))
    seconds = round(time.perf_counter() - started, 2)
    return {**found, "status": "built", "seconds": seconds, "bytes": len(bytes(engine))}


def _write(path: Path, content: bytes) -> None:
    """Write a temporary file in the same folder, then rename it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run an engine on this machine's GPU.

    Args:
        task: `module`, `engine` (path), `inputs` (an .npz with the graph's inputs), `outputs` (the
            .npz to write: action).

    Returns:
        `status` run or failed, with `reason`.
    """
    import numpy as np

    from pipeline.errors import PipelineError
    from pipeline.runtime.backends.engine_runner import EngineRunner

    try:
        runner = EngineRunner(Path(task["engine"]), task["module"])
        with np.load(task["inputs"]) as arrays:
            action = runner.run(dict(arrays))
    except PipelineError as error:
        return {"status": "failed", "reason": str(error)}
    np.savez(task["outputs"], action=action)
    return {"status": "run"}


def gpus(task: dict[str, Any]) -> dict[str, Any]:
    """Ask the NVIDIA driver for its GPUs.

    Args:
        task: not used.

    Returns:
        `gpus`, each with `name` and `capability`; `reason` if there is none.
    """
    import ctypes

    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {"gpus": [], "reason": "no NVIDIA driver"}
    code = cuda.cuInit(0)
    if code:
        return {"gpus": [], "reason": f"the NVIDIA driver does not start (cuInit: error {code})"}
    newest = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(newest))
    driver = f"{newest.value // 1000}.{newest.value % 1000 // 10}"
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    found = []
    for device in range(count.value):
        name, major, minor = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
        cuda.cuDeviceGetName(name, 256, device)
        # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
        cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        capability = f"{major.value}.{minor.value}"
        found.append({"name": name.value.decode(), "capability": capability, "driver": driver})
    return {"gpus": found, "reason": "" if found else "the NVIDIA driver sees no GPU"}


def version(task: dict[str, Any]) -> dict[str, Any]:
    """Ask a library for its version.

    Args:
        task: `module`.

    Returns:
        `version`; or `reason` if it cannot be imported.
    """
    try:
        return {"version": str(importlib.import_module(task["module"]).__version__)}
    except Exception as error:  # a stub package may raise anything
        return {"reason": f"{task['module']} cannot be imported: {error}"}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    does = {"build": build, "run": run, "gpus": gpus, "version": version}
    outcome = does[asked["kind"]](asked)
    print("\n" + json.dumps(outcome), flush=True)
