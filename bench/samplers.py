"""Compare samplers in closed loop: DDIM with several numbers of steps, and MIP with its two passes.

    python -m bench.samplers --data artifacts/dataset/pen_grasp.zarr --epochs 3 --pens 200
    python -m bench.samplers --model artifacts/train/best_model.pt --steps 10 4 2 --pens 500

Trains one policy by diffusion and one by MIP from the same seed, or takes a trained one, and rolls
each sampler out on the same pens. The DDIM rows share one policy's weights. Chunks start as section
execution says: from zeros if noise_scale is 0. The time of a chunk is measured on the exported
graph in ONNX Runtime, batch 1, one thread. Writes bench/results/samplers.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.export.graph import export_onnx
from pipeline.params import Params, load_params
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
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("artifacts/dataset/pen_grasp.zarr"))
    parser.add_argument("--model", type=Path, help="trained checkpoint, instead of training two")
    parser.add_argument("--name", help="of the table; the model's path and the pens if left out")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each training")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 4, 2, 1], help="of DDIM")
    parser.add_argument("--pens", type=int, default=200, help="rollouts of each sampler")
    parser.add_argument("--seed", type=int, help="of the pens, instead of evaluate.seed")
    parser.add_argument("--only", nargs="*", choices=list(TRAININGS), default=list(TRAININGS))
    options = parser.parse_args()
    base = load_params(options.params).override("train", num_epochs=options.epochs)
    seed = base.evaluate.seed if options.seed is None else options.seed
    base = base.override(
        "evaluate", pens=options.pens, seed=seed, robustness="off", grasp_pens=0, films=0,
        backends=["torch"],
    )  # fmt: skip
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    made = options.model or f"{options.epochs} epochs"
    table = results.setdefault(options.name or f"{made}, n = {options.pens}", {"samplers": {}})
    table["versions"] = versions("torch", "onnxruntime")
    console.print("| sampler | strict (95 %) | no contact | 5 mm | median mm | ms a chunk |")
    console.print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for index, (training, checkpoint) in enumerate(_trained(options, base, Path(name))):
            for num_steps in options.steps if training == "ddim" else (2,):
                changed, folder = resampled(checkpoint, num_steps), Path(name) / str(index)
                model = folder / f"{training}_{num_steps}.pt"
                folder.mkdir(exist_ok=True)
                save_checkpoint(model, changed)
                evaluate.run(base, folder / "evaluate", model, options.data)
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


def _trained(
    options: argparse.Namespace, params: Params, folder: Path
) -> Iterator[tuple[str, Checkpoint]]:
    """Yield names of samplers and checkpoints: the given one, or one of each training."""
    if options.model is not None:
        checkpoint = load_checkpoint(options.model)
        yield str(checkpoint.config["policy"]["sampler"]), checkpoint
        return
    for training in options.only:
        train.run(params.override("policy", **TRAININGS[training]), folder / training, options.data)
        yield training, load_checkpoint(folder / training / "best_model.pt")


if __name__ == "__main__":
    main()
