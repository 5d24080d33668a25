"""What each sampler reaches in the closed loop, and what a chunk costs it.

    python -m bench.samplers --data artifacts/dataset/pen_grasp.zarr --epochs 3 --pens 200

Trains once for every kind of prediction, then samples with different numbers of steps from the same
weights, on the same pens. The time of a chunk is that of the exported graph in ONNX Runtime, batch
1, one thread. Writes bench/results/samplers.json.
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
from pipeline.policy.checkpoint import Bundle, load_bundle, save_bundle
from pipeline.run import console, versions, write_json
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.stages import evaluate, train

RESULTS = Path(__file__).parent / "results" / "samplers.json"
CALLS = 300
TRAININGS: dict[str, dict[str, Any]] = {
    "sample": {"prediction": "sample"},
    "velocity": {"prediction": "velocity"},
}
SAMPLERS: list[tuple[str, int]] = [("ddim", 10), ("ddim", 2), ("ddim", 1), ("ddpm", 10)]


def resampled(bundle: Bundle, sampler: str, num_steps: int) -> Bundle:
    """The same weights with another sampler."""
    policy = {**bundle.config["policy"], "sampler": sampler, "num_inference_steps": num_steps}
    return replace(bundle, config={**bundle.config, "policy": policy})


def milliseconds(bundle: Bundle, path: Path) -> float:
    """Median time of one chunk in ONNX Runtime, batch 1, one thread."""
    export_onnx(bundle, path, 18, {})
    policy = OnnxRuntimePolicy(path)
    obs = bundle.examples[:1].numpy()
    noise = np.random.default_rng(0).standard_normal((1, *policy._chunk), dtype=np.float32)
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        policy.predict(obs, noise)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def main() -> None:
    """Train, sample, keep what is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("artifacts/dataset/pen_grasp.zarr"))
    parser.add_argument("--epochs", type=int, default=3, help="of each training")
    parser.add_argument("--pens", type=int, default=200, help="rollouts of each sampler")
    parser.add_argument("--only", nargs="*", choices=list(TRAININGS), default=list(TRAININGS))
    options = parser.parse_args()
    base = load_params(Path("params.yaml")).override("train", num_epochs=options.epochs)
    base = base.override("evaluate", pens=options.pens, robustness="off", grasp_pens=0, films=0)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    key = f"{options.epochs} epochs, n = {options.pens}"
    table = results.setdefault(key, {"versions": versions("torch", "onnxruntime"), "samplers": {}})
    console.print("| training | sampler | strict (95 %) | 5 mm | median mm | ms a chunk |")
    console.print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for index, training in enumerate(options.only):
            folder = Path(name) / str(index)
            params = base.override("policy", **TRAININGS[training])
            train.run(params, folder / "train", options.data)
            bundle = load_bundle(folder / "train" / "best_model.pt")
            for sampler, num_steps in SAMPLERS:
                changed = resampled(bundle, sampler, num_steps)
                model = folder / f"{sampler}_{num_steps}.pt"
                save_bundle(model, changed)
                evaluate.run(params, folder / "evaluate", model, options.data)
                found = json.loads((folder / "evaluate" / "metrics.json").read_text())
                closed = found["closed_loop"]
                closed["chunk_ms"] = milliseconds(changed, folder / "policy.onnx")
                table["samplers"][f"{training}: {sampler} {num_steps}"] = closed
                RESULTS.parent.mkdir(exist_ok=True)
                write_json(RESULTS, results)
                low, high = closed["ci95_strict"]
                console.print(
                    f"| {training} | {sampler}, {num_steps} steps | {closed['success_strict']:.1%} "
                    f"({low * 100:.1f}–{high * 100:.1f}) | {closed['success_5mm']:.1%} "
                    f"| {closed['error_mm_median']:.1f} | {closed['chunk_ms']:.2f} |"
                )


if __name__ == "__main__":
    main()
