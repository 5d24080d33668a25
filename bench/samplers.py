"""Compare samplers in closed loop: DDIM with 10, 2 and 1 steps, and MIP with its two passes.

    python -m bench.samplers --data artifacts/dataset/pen_grasp.zarr --epochs 3 --pens 200

Trains one policy by diffusion and one by MIP from the same seed, and rolls each sampler out on the
same pens. The DDIM rows share one policy's weights. Chunks start as section execution says: from
zeros if noise_scale is 0. The time of a chunk is measured on the exported graph in ONNX Runtime,
batch 1, one thread. Writes bench/results/samplers.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.export.graph import export_onnx
from pipeline.params import load_params
from pipeline.policy.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from pipeline.run import console, versions, write_json
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.stages import evaluate, train

RESULTS = Path(__file__).parent / "results" / "samplers.json"
CALLS = 300
TRAININGS: dict[str, dict[str, Any]] = {
    "ddim": {"sampler": "ddim", "prediction": "sample"},
    "mip": {"sampler": "mip", "prediction": "sample", "num_inference_steps": 2},
}
STEPS = {"ddim": (10, 2, 1), "mip": (2,)}
"""Inference steps that are measured with each training."""


def resampled(checkpoint: Checkpoint, num_steps: int) -> Checkpoint:
    """The same weights with another number of inference steps."""
    policy = {**checkpoint.config["policy"], "num_inference_steps": num_steps}
    return replace(checkpoint, config={**checkpoint.config, "policy": policy})


def milliseconds(checkpoint: Checkpoint, path: Path) -> float:
    """Median time of one chunk in ONNX Runtime, batch 1, one thread."""
    export_onnx(checkpoint, path, 18, {})
    policy = OnnxRuntimePolicy(path)
    obs = checkpoint.examples[:1].numpy()
    noise = np.random.default_rng(0).standard_normal((1, *policy._chunk), dtype=np.float32)
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        policy.predict(obs, noise)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def main() -> None:
    """Train and sample, and save the results after each sampler."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("artifacts/dataset/pen_grasp.zarr"))
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each training")
    parser.add_argument("--pens", type=int, default=200, help="rollouts of each sampler")
    parser.add_argument("--only", nargs="*", choices=list(TRAININGS), default=list(TRAININGS))
    options = parser.parse_args()
    base = load_params(Path("params.yaml")).override("train", num_epochs=options.epochs)
    base = base.override(
        "evaluate", pens=options.pens, robustness="off", grasp_pens=0, films=0, backends=["torch"]
    )
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    key = f"{options.epochs} epochs, n = {options.pens}"
    table = results.setdefault(key, {"samplers": {}})
    table["versions"] = versions("torch", "onnxruntime")
    console.print("| sampler | strict (95 %) | no contact | 5 mm | median mm | ms a chunk |")
    console.print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for index, training in enumerate(options.only):
            folder = Path(name) / str(index)
            params = base.override("policy", **TRAININGS[training])
            train.run(params, folder / "train", options.data)
            checkpoint = load_checkpoint(folder / "train" / "best_model.pt")
            for num_steps in STEPS[training]:
                changed = resampled(checkpoint, num_steps)
                model = folder / f"{training}_{num_steps}.pt"
                save_checkpoint(model, changed)
                evaluate.run(params, folder / "evaluate", model, options.data)
                found = json.loads((folder / "evaluate" / "metrics.json").read_text())
                closed = found["closed_loop"]
                closed["chunk_ms"] = milliseconds(changed, folder / "policy.onnx")
                table["samplers"][f"{training} {num_steps}"] = closed
                RESULTS.parent.mkdir(exist_ok=True)
                write_json(RESULTS, results)
                low, high = closed["ci95_strict"]
                console.print(
                    f"| {training}, {num_steps} | {closed['success_strict']:.1%} "
                    f"({low * 100:.1f}–{high * 100:.1f}) | {closed['success_collision_free']:.1%} "
                    f"| {closed['success_5mm']:.1%} "
                    f"| {closed['error_mm_median']:.1f} | {closed['chunk_ms']:.2f} |"
                )


if __name__ == "__main__":
    main()
