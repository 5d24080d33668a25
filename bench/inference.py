"""Compare the time of a chunk with that of LeRobot's own model with the same U-Net.

    python -m bench.inference --calls 30

One CPU thread, batch 1, ten DDIM steps, untrained weights; the calls alternate in one process. Our
time covers everything from raw observation to joint positions, LeRobot's from normalised
observation to normalised actions. `python -m pipeline bench inference` compares our backends with
each other. Writes bench/results/inference_peer.json and prints the table as Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.peer import lerobot_batch, lerobot_model
from bench.timing import Step, interleaved
from pipeline.export.graph import export_onnx
from pipeline.layout import Layout
from pipeline.params import Params, load_params
from pipeline.policy.checkpoint import Checkpoint, make_config
from pipeline.policy.model import PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.model import RobotModel
from pipeline.run import console, versions, write_json
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

RESULTS = Path(__file__).parent / "results" / "inference_peer.json"
CHANNELS = ([64, 128, 256], [256, 512, 1024])
RATE_HZ = 30.0


def measure(params: Params, calls: int) -> dict[str, Any]:
    """Median time of a chunk with each model, ms, and the ratios to LeRobot's."""
    layout, policy = Layout.from_params(params), params.policy
    geometry = policy_geometry(RobotModel.from_params(params.robot), params.task)
    model = PolicyModel(policy, layout, geometry).eval()
    examples = torch.zeros(1, policy.n_obs_steps, layout.state_dim)
    for kind in ("ee_pose", "object_axis"):
        examples[..., layout.field(kind).slice.stop - 1] = 1.0
    weights = model.state_dict()
    config = make_config(policy, layout, geometry, RATE_HZ)
    noise = torch.randn(1, policy.horizon, layout.action_dim)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "policy.onnx"
        checkpoint = Checkpoint(weights, weights, config, {}, layout, examples)
        export_onnx(checkpoint, graph, params.export.opset, {})
        exported = OnnxRuntimePolicy(graph)
    arrays = (examples.numpy(), noise.numpy())
    ways: dict[str, Step] = {
        "torch": lambda: model(examples, noise),
        "onnxruntime": lambda: exported.predict(*arrays),
    }
    theirs = lerobot_model(policy)
    if theirs is not None:
        theirs.eval()
        batch = lerobot_batch(policy, 1)
        ways["lerobot"] = lambda: theirs.generate_actions(batch, noise=noise)
    with torch.inference_mode():
        times = interleaved(ways, calls)
    found = {name: round(1e3 * float(np.median(values)), 3) for name, values in times.items()}
    least = {name: round(1e3 * min(values), 3) for name, values in times.items()}
    return {"calls": calls, "median_ms": found, "least_ms": least, "load": os.getloadavg()[0]}


def main() -> None:
    """Measure both U-Nets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = load_params(Path("params.yaml"))
    try:
        peer: str | None = metadata.version("lerobot")
    except metadata.PackageNotFoundError:
        peer = None
    results: dict[str, Any] = {
        "versions": {**versions("torch", "onnxruntime"), "lerobot": peer},
        "networks": {},
    }
    console.print("| U-Net | LeRobot ms | torch ms | ONNX Runtime ms | of LeRobot | of torch |")
    console.print("|---|---|---|---|---|---|")
    for channels in CHANNELS:
        params = base.override("policy", network="unet", unet_channels=channels)
        row, name = measure(params, options.calls), "–".join(map(str, channels))
        results["networks"][name] = row
        ms = row["least_ms"]
        theirs = ms.get("lerobot")
        share = f"{ms['onnxruntime'] / theirs:.2f}" if theirs else "–"
        console.print(
            f"| {name} | {theirs or '–'} | {ms['torch']} | {ms['onnxruntime']} "
            f"| {share} | {ms['onnxruntime'] / ms['torch']:.2f} |"
        )
    write_json(RESULTS, results)


if __name__ == "__main__":
    main()
