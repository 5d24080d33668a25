"""Measure how much each part of the recipe contributes: one change at a time, equal training.

    python -m bench.ablation --epochs 5 --pens 200

Trains each variant on the same demonstrations (planned states, as most recordings have them) and
rolls it out on the same pens. Writes bench/results/ablation.json and prints the table as Markdown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.params import Params, load_params
from pipeline.run import console, versions, write_json
from pipeline.stages import collect, dataset, evaluate, ingest, train

RESULTS = Path(__file__).parent / "results" / "ablation.json"
Changes = dict[str, dict[str, Any]]
INPUTS = ["joint_pos", "ee_pose", "object_pos", "object_axis"]
VARIANTS: dict[str, Changes] = {
    "default": {},
    "noise prediction": {"policy": {"prediction": "epsilon"}},
    "absolute actions": {"policy": {"actions": "absolute"}},
    "relative actions without asinh": {"policy": {"action_scale_rad": 10.0}},
    "features without asinh": {"policy": {"offset_scale_m": 10.0, "tilt_scale": 10.0}},
    "without the gripper's view": {"policy": {"object_in_tcp": False}},
    "with joint velocity": {"policy": {"inputs": [*INPUTS, "joint_vel"]}},
    "without state perturbation": {"train": {"noise_probability": 0.0}},
    "perturbation up to 0.03 rad": {"train": {"noise_max_rad": 0.03}},
    "one observation": {"policy": {"n_obs_steps": 1}},
    "200 demonstrations": {"collect": {"episodes": 200}},
    "U-Net 32-64": {"policy": {"network": "unet", "unet_channels": [32, 64]}},
}


def changed(params: Params, changes: Changes) -> Params:
    """Parameters with a variant's changes."""
    for section, values in changes.items():
        params = params.override(section, **values)
    return params


def demonstrations(params: Params, folder: Path) -> Path:
    """Collect, ingest and build the data set; returns its zarr."""
    collect.run(params, folder / "collect")
    ingest.run(params, folder / "ingest", folder / "collect" / "bag")
    dataset.run(params, folder / "dataset", folder / "ingest" / "episodes.zarr")
    return folder / "dataset" / f"{params.task.object}_grasp.zarr"


def measure(params: Params, folder: Path, data: Path) -> dict[str, Any]:
    """Train and roll out; returns the closed loop's numbers and the CPU time of the training."""
    started = time.process_time()
    train.run(params, folder / "train", data)
    seconds = time.process_time() - started
    evaluate.run(params, folder / "evaluate", folder / "train" / "best_model.pt", data)
    closed = json.loads((folder / "evaluate" / "metrics.json").read_text())["closed_loop"]
    return {**closed, "train_cpu_s": round(seconds, 1)}


def row(name: str, found: dict[str, Any]) -> str:
    """A line of the Markdown table."""
    low, high = found["ci95_strict"]
    return (
        f"| {name} | {found['success_team']:.1%} | {found['success_strict']:.1%} "
        f"({low * 100:.1f}–{high * 100:.1f}) | {found['success_5mm']:.1%} "
        f"| {found['error_mm_median']:.1f} | {found['train_cpu_s']:.0f} |"
    )


def main() -> None:
    """Run the variants one after another, and save the results after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each training")
    parser.add_argument("--pens", type=int, default=200, help="rollouts of each variant")
    parser.add_argument("--ik", choices=["nearest", "random"], default="nearest")
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args()
    base = load_params(Path("params.yaml"))
    base = base.override("collect", ik=options.ik)
    base = base.override("evaluate", pens=options.pens, robustness="off", grasp_pens=0, films=0)
    base = base.override("train", num_epochs=options.epochs)
    key = f"{options.ik}, {options.epochs} epochs, n = {options.pens}"
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    table = results.setdefault(key, {"versions": versions("torch", "mujoco"), "variants": {}})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shared = demonstrations(base, folder / "shared")
        for index, variant in enumerate(options.only):
            params, place = changed(base, VARIANTS[variant]), folder / str(index)
            own = "collect" in VARIANTS[variant]
            data = demonstrations(params, place) if own else shared
            table["variants"][variant] = measure(params, place, data)
            RESULTS.parent.mkdir(exist_ok=True)
            write_json(RESULTS, results)
    console.print(f"\n{key}\n\n| recipe | team | strict (95 %) | 5 mm | median mm | train CPU s |")
    console.print("|---|---|---|---|---|---|")
    for variant, found in table["variants"].items():
        console.print(row(variant, found))


if __name__ == "__main__":
    main()
