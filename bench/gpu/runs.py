"""Parts of `bench.gpu` that name the machine, time inference, train to an end, and run tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.gpu.part import REPOSITORY, NotAvailableError, Part
from pipeline.run import versions

PACKAGES = (
    "torch", "triton", "numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx",
    "lerobot",
)  # fmt: skip


def part_machine(part: Part) -> None:
    """Name of the machine, versions, and the rate of a large product."""
    from bench.timing import interleaved, repeated
    from bench.train import product, wait_for
    from pipeline.machine import available_cores, processor

    part.keep("name", processor())
    if part.device.type == "cuda":
        properties = torch.cuda.get_device_properties(part.device)
        part.keep("name", f"{properties.name}, {processor()}")
        part.keep("compute_capability", f"{properties.major}.{properties.minor}")
        part.keep("memory_gb", round(properties.total_memory / 1e9, 1))
    part.keep("cores", available_cores())
    part.keep("python", sys.version.split()[0])
    part.keep("cuda", torch.version.cuda)
    part.keep("versions", versions(*PACKAGES))
    multiply, operations = product(part.device, 64 if part.tiny else None)
    timed = repeated(multiply, 10, lambda: wait_for(part.device))
    seconds = min(interleaved({"product": timed}, 1 if part.tiny else 10)["product"]) / 10
    part.keep("product_tflop_per_s", round(operations / seconds / 1e12, 3))


def part_latency(part: Part) -> None:
    """Time of a chunk on every backend, batch 1 and 64: the first call, and later ones."""
    from pipeline.benchmark.latency import Subject, time_batches
    from pipeline.stages.bench import exported

    calls = 2 if part.tiny else 200
    for network in ("mlp",) if part.tiny else ("mlp", "unet"):
        params = part.params.override("policy", network=network)
        variants = [] if part.tiny else [("onnxruntime unrolled", True, "float32")]
        with exported(params, variants) as subjects:
            graph = subjects["onnxruntime"]
            unrolled = subjects.get("onnxruntime unrolled", graph)
            every: dict[str, Subject] = {
                **subjects,
                "torch graphs": replace(subjects["torch"], backend="torch-graphs"),
                "onnxruntime cuda": replace(graph, backend="onnxruntime-cuda"),
                "onnxruntime cuda unrolled": replace(unrolled, backend="onnxruntime-cuda"),
                "tensorrt-rtx unrolled": replace(unrolled, backend="tensorrt-rtx"),
                "tensorrt unrolled": replace(unrolled, backend="tensorrt"),
            }
            for name, subject in every.items():
                if part.tiny and name not in ("torch", "onnxruntime", "torch graphs"):
                    part.keep(f"{network}, {name}", "not available: a dry run has no GPU")
                    continue

                def rows(subject: Subject = subject) -> dict[str, Any]:
                    timed = time_batches(subject, calls, 1, (1, 64))
                    return {f"batch {size}": timing.summary() for size, timing in timed.items()}

                part.attempt(f"{network}, {name}", rows)


def part_strict(part: Part) -> None:
    """Time of a default training until a small closed loop succeeds in 99 %."""
    if part.tiny:
        raise NotAvailableError("a dry run has no data set")
    if not part.data.is_dir():
        raise NotAvailableError(
            f"{part.data} is missing; run `make dataset`, or name one by --data"
        )
    _without_dvclive()
    from pipeline.evaluation.rollout_validation import RolloutValidation
    from pipeline.stages import train

    score, started = RolloutValidation.score, time.perf_counter()
    rollouts: list[dict[str, float]] = []

    def timed(self: RolloutValidation, predict: Any) -> Any:
        begun = time.perf_counter()
        found = score(self, predict)
        now = time.perf_counter()
        rollouts.append(
            {"at_s": now - started, "success": found.success, "rollouts_s": now - begun}
        )
        part.keep("closed_loops", rollouts)
        part.keep("rollouts_each", len(self.trials))
        if found.success >= 0.99 and "seconds_to_99_percent" not in part.found:
            part.keep("seconds_to_99_percent", now - started)
        return found

    RolloutValidation.score = timed  # type: ignore[method-assign]
    params = part.params.override("train", device=str(part.device), rollout_every=2)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder
        train.run(params, Path(folder) / "out", part.data)
        part.keep("metrics", json.loads((Path(folder) / "out" / "metrics.json").read_text()))


def part_resume(part: Part) -> None:
    """Whether a training that SIGTERM stopped ends with the weights of an undisturbed one."""
    _without_dvclive()
    from bench.gpu.resume import train_small

    params = part.params.override(
        "train", num_epochs=4, batch_size=64, compile="off", rollout_every=0, select="val_loss",
        precision="auto", threads=1, warmup_steps=5,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        calm, _ = train_small(params, part.device, Path(folder) / "calm", None)
        stopped_at = train_small(params, part.device, Path(folder) / "ended", 2)[1]
        resumed, _ = train_small(params, part.device, Path(folder) / "ended", None)
    part.keep("stopped_after_step", stopped_at)
    differences = [float((calm[key].float() - resumed[key].float()).abs().max()) for key in calm]
    part.keep("bit_for_bit", all(torch.equal(calm[key], resumed[key]) for key in calm))
    part.keep("max_abs_difference", float(np.max(differences)))


def part_tests(part: Part) -> None:
    """The tests marked gpu."""
    if part.device.type != "cuda":
        raise NotAvailableError("a dry run has no GPU")
    marked = [
        str(path) for path in sorted((REPOSITORY / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text()
    ]  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *marked]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no output"]
    part.keep("pytest", lines[-1])
    part.keep("failed", [line for line in lines if line.startswith(("FAILED", "ERROR"))])
    if done.returncode:
        raise RuntimeError(lines[-1])


def _without_dvclive() -> None:
    """Train without DVCLive where it is not installed; nothing here reads what it writes."""
    try:
        import dvclive.live  # noqa: F401
    except ImportError:

        class Live:
            def __init__(self, *_: object, **__: object) -> None:
                pass

            def __getattr__(self, name: str) -> Callable[..., None]:
                return lambda *_, **__: None

        module: Any = types.ModuleType("dvclive.live")
        module.Live = Live
        sys.modules["dvclive"], sys.modules["dvclive.live"] = types.ModuleType("dvclive"), module
