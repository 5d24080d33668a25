"""Export a checkpoint as an ONNX graph and TensorRT engines, with a report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from rich.table import Table

from pipeline.errors import PipelineError
from pipeline.export.engines import Check, EngineReport, build_engines
from pipeline.export.graph import export_onnx
from pipeline.hashing import sha256_file
from pipeline.layout import Layout
from pipeline.machine import processor
from pipeline.params import ExportParams, Params
from pipeline.policy.checkpoint import Checkpoint, load_checkpoint
from pipeline.policy.diffusion_policy import DiffusionPolicy
from pipeline.policy.observation import graph_inputs
from pipeline.robot.model import RobotModel
from pipeline.run import console, output_folder, state_root, versions, write_json
from pipeline.runtime.backends.engine_store import BuildOptions
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.deployment import Deployment

PARITY_BATCHES = (1, 3, 64)
PACKAGES = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime", "tensorrt-rtx", "tensorrt")
Float32 = NDArray[np.float32]


class ParityError(PipelineError):
    """An exported policy does not compute what the trained one computes."""


def run(params: Params, out: Path, model: Path | None = None) -> None:
    """Export a policy.

    Args:
        params: section export; robot and execution, which the graph carries for the robot.
        out: folder for policy.onnx, engines/, export.json and metrics.json (its numbers for DVC).
        model: checkpoint; None takes the best one of stage train.

    Raises:
        CheckpointError: the checkpoint is missing or not of this pipeline.
        ParityError: ONNX Runtime and torch disagree. An engine that disagrees is reported as
            failed instead, and the rest is kept.
    """
    path = model or Path("artifacts/train/best_model.pt")
    checkpoint = load_checkpoint(path)
    torch.set_num_threads(1)
    policy = DiffusionPolicy.from_checkpoint(path, device="cpu")
    with output_folder(out) as folder:
        graph = folder / "policy.onnx"
        console.print("Exporting policy.onnx")
        hashes = {"checkpoint_sha256": sha256_file(path)}
        metadata = {
            "deployment": _deployment(params, checkpoint).to_json(),
            **hashes,
            **{f"{k}_version": v for k, v in versions("torch", "onnx").items()},
        }
        started = time.perf_counter()
        export_onnx(
            checkpoint, graph, params.export.opset, metadata, params.export.unrolled,
            params.export.precision, state_root("export"),
        )  # fmt: skip
        seconds = time.perf_counter() - started
        runtime = OnnxRuntimePolicy(graph, threads=1)
        obs, noise = _inputs(checkpoint.examples.numpy(), runtime, max(PARITY_BATCHES))
        unit = _unit(checkpoint)
        parity = _parity(policy, runtime, obs, noise, params.export, unit)
        calls = params.export.latency_calls
        torch_ms = _latency(lambda: policy.predict(obs[:1], noise=noise[:1]), calls)
        runtime_ms = _latency(lambda: runtime.predict(obs[:1], noise[:1]), calls)
        check = _check(params.export, runtime, obs, noise)
        console.print("Building TensorRT engines")
        built = build_engines(
            graph, folder / "engines", params.export.targets, params.export.batch, check,
            BuildOptions(params.export.version_compatible, params.export.hardware_compatible),
        )  # fmt: skip
        engines = [_compare(report, folder, params.export, unit) for report in built]
        content = {
            "model": {"path": str(path), "sha256": hashes["checkpoint_sha256"]},
            "layout_fingerprint": checkpoint.layout.fingerprint,
            "rate_hz": checkpoint.config["rate_hz"],
            "onnx": {**_describe(graph), "export_seconds": round(seconds, 2)},
            "parity": parity,
            "backends": {
                "torch": {"status": "built and run", "latency_batch_1": torch_ms},
                "onnxruntime": {"status": "built and run", "latency_batch_1": runtime_ms},
                "tensorrt-rtx": _of(engines, "tensorrt-rtx"),
                "tensorrt": _of(engines, "tensorrt"),
            },
            "machine": {"processor": processor(), "threads": 1, "system": platform.platform()},
            "versions": versions(*PACKAGES),
        }
        write_json(folder / "export.json", content)
        medians = {"torch": torch_ms["median_ms"], "onnxruntime": runtime_ms["median_ms"]}
        worst = max(parity["max_abs_rad"].values())
        write_json(folder / "metrics.json", {"latency_ms": medians, "parity_rad": worst})
    _show(parity, torch_ms, runtime_ms, engines, checkpoint.layout)


def _deployment(params: Params, checkpoint: Checkpoint) -> Deployment:
    """Execution settings and limits for the robot; without an arm there are no limits."""
    if checkpoint.layout.is_generic:
        return Deployment.without_arm(params.execution, checkpoint.layout.action_dim)
    limits = RobotModel.from_params(params.robot).limits
    return Deployment.from_params(params.execution, limits)


def _unit(checkpoint: Checkpoint) -> float:
    """What the limits of differences count in: 1 rad, or half the widest range of the actions.

    Numbers without a unit may be large, and float32 rounds in proportion.
    """
    if not checkpoint.layout.is_generic:
        return 1.0
    stats = checkpoint.stats["action"]
    return max(float(np.max(np.subtract(stats["max"], stats["min"]))) / 2, 1e-6)


def _inputs(examples: Float32, runtime: OnnxRuntimePolicy, batch: int) -> tuple[Float32, Float32]:
    """Held-out observations, repeated where the checkpoint has fewer, and fixed noise."""
    obs = examples[np.arange(batch) % len(examples)]
    shape = (batch, int(runtime.config["horizon"]), runtime.layout.action_dim)
    return obs, np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _parity(
    policy: DiffusionPolicy,
    runtime: OnnxRuntimePolicy,
    obs: Float32,
    noise: Float32,
    params: ExportParams,
    unit: float,
) -> dict[str, Any]:
    """Largest difference between ONNX Runtime and torch, by batch size.

    Raises:
        ParityError: it exceeds the limit.
    """
    half = params.precision == "float16"
    key, limit_rad = (
        ("half_parity_rad", params.half_parity_rad) if half else ("parity_rad", params.parity_rad)
    )
    largest = {}
    for batch in PARITY_BATCHES:
        expected = policy.predict(obs[:batch], noise=noise[:batch]).numpy()
        found = runtime.predict(obs[:batch], noise[:batch])
        largest[str(batch)] = float(np.abs(found - expected).max())
    limit_rad *= unit
    worst = max(largest.values())
    if not worst <= limit_rad:
        raise ParityError(
            f"policy.onnx differs from torch by {worst:.2e} rad, export.{key} allows "
            f"{limit_rad:.2e} (by batch size: {largest}); it was not written"
        )
    return {"max_abs_rad": largest, "limit_rad": limit_rad, "passed": True}


def _check(params: ExportParams, runtime: OnnxRuntimePolicy, obs: Float32, noise: Float32) -> Check:
    """The comparison of engines: as many observations as their profile and the data allow."""
    size = min(params.batch[2], len(obs))
    inputs = {**graph_inputs(obs[:size], runtime.layout), "noise": noise[:size]}
    return Check(inputs, runtime.predict(obs[:size], noise[:size]))


def _compare(report: EngineReport, folder: Path, params: ExportParams, unit: float) -> EngineReport:
    """The report of an engine; of one that differs from ONNX Runtime too much, a failure.

    Such an engine's files are removed, and `load_policy` builds none in its place.
    """
    key, limit_rad = (
        ("half_parity_rad", params.half_parity_rad)
        if params.precision == "float16"
        else ("engine_parity_rad", params.engine_parity_rad)
    )
    limit_rad *= unit
    if report.max_abs_rad is None or report.file is None or report.max_abs_rad <= limit_rad:
        return report
    engine = folder / report.file
    engine.unlink()
    engine.with_suffix(".json").unlink()
    reason = (
        f"the engine differs from ONNX Runtime by {report.max_abs_rad:.2e} rad, export.{key} "
        f"allows {limit_rad:.2e}; it was removed"
    )
    largest = report.max_abs_rad if np.isfinite(report.max_abs_rad) else None  # JSON has no NaN
    return replace(
        report, status="failed", reason=reason, file=None, bytes=None, max_abs_rad=largest
    )


def _latency(call: Callable[[], object], calls: int) -> dict[str, float | int]:
    """Median and 99th percentile of a call, ms."""
    times = []
    for index in range(calls + calls // 10):
        started = time.perf_counter()
        call()
        if index >= calls // 10:
            times.append(1e3 * (time.perf_counter() - started))
    median, high = (round(float(value), 3) for value in np.percentile(times, (50, 99)))
    return {"median_ms": median, "p99_ms": high, "calls": calls}


def _describe(graph: Path) -> dict[str, Any]:
    """Hash, size and signature of the graph, read from the file."""
    proto = onnx.load(str(graph))

    def signature(values: Any) -> dict[str, list[str | int]]:
        return {
            value.name: [
                axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim
            ]
            for value in values
        }

    return {
        "sha256": sha256_file(graph),
        "bytes": graph.stat().st_size,
        "opset": proto.opset_import[0].version,
        "inputs": signature(proto.graph.input),
        "outputs": signature(proto.graph.output),
    }


def _of(engines: list[EngineReport], backend: str) -> list[dict[str, Any]]:
    return [report.to_dict() for report in engines if report.backend == backend]


def _show(
    parity: dict[str, Any],
    torch_ms: dict[str, float | int],
    runtime_ms: dict[str, float | int],
    engines: list[EngineReport],
    layout: Layout,
) -> None:
    table = Table("backend", "target", "status", "detail", title="Exported policy")
    worst = max(parity["max_abs_rad"].values())
    table.add_row("torch", "cpu", "built and run", f"{torch_ms['median_ms']} ms, batch 1")
    table.add_row(
        "onnxruntime",
        "cpu",
        "[green]built and run[/]",
        f"{runtime_ms['median_ms']} ms, batch 1; differs by {worst:.1e} {layout.action[0].unit}",
    )
    colors = {"built and run": "green", "built, not run": "yellow", "skipped": "yellow"}
    for report in engines:
        built = f"{report.bytes / 1e6:.1f} MB in {report.seconds} s" if report.bytes else None
        color = colors.get(report.status, "red")
        table.add_row(
            report.backend,
            report.target or "–",
            f"[{color}]{report.status}[/]",
            "; ".join(filter(None, (built, report.reason))),
        )
    console.print(table)
