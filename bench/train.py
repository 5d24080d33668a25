"""Measure how fast training is and what limits it: samples/s, time outside the network, arithmetic.

    python -m bench.train --steps 12

One CPU thread, made-up data (speed does not depend on its values). For each network and batch, in
interleaved steps of one run:

- ours: the whole step (gather, perturbation, features, encoding, noise, then network, optimiser,
  average). The work before the network is done for several steps at once; each counts its share;
- outside: that share, as a part of the step;
- of the peak: the network's rate of floating-point operations, relative to the best rate that a
  large product reaches here (1024 × 1024 in float32; on a GPU 8192 × 8192 in bfloat16);
- LeRobot: the same U-Net, by LeRobot's own class in its own step (loss, gradient clipping, Adam as
  in its training), on batches that are already in memory, without data loader and averaging.

Writes bench/results/train.json and prints the table as Markdown. `bench.gpu` measures with the same
functions on a GPU.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.peer import lerobot_batch, lerobot_model
from bench.timing import Step, interleaved, repeated
from pipeline.layout import Layout
from pipeline.params import Params, load_params
from pipeline.policy.model import PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.model import RobotModel
from pipeline.run import console, versions, write_json
from pipeline.training.batches.windows import Windows
from pipeline.training.precision import autocast, choose_precision
from pipeline.training.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "train.json"
ROWS = 20000
CPU = torch.device("cpu")
NETWORKS: dict[str, dict[str, Any]] = {
    "MLP 256 × 3": {"network": "mlp"},
    "U-Net 64–128–256": {"network": "unet", "unet_channels": [64, 128, 256]},
    "U-Net 256–512–1024": {
        "network": "unet",
        "unet_channels": [256, 512, 1024],
        "step_embedding": 128,
    },
}
BATCHES = (64, 256)


def windows(
    layout: Layout, params: Params, device: torch.device = CPU, number: int = ROWS
) -> Windows:
    """Made-up rows and the windows of one long episode."""
    rng = torch.Generator().manual_seed(0)
    state = torch.randn((number, layout.state_dim), generator=rng)
    joints = layout.field("joint_pos").slice
    action = state[:, joints] + 0.1 * torch.randn((number, layout.action_dim), generator=rng)
    rows = torch.arange(number - params.policy.horizon)[:, None]
    reach = torch.arange(params.policy.horizon)
    arrays = (state, action, rows + torch.arange(params.policy.n_obs_steps), rows + reach)
    return Windows(*(array.to(device) for array in arrays))


@dataclass(frozen=True)
class Ours:
    """The parts of our training step."""

    step: Step
    """Loss, gradient, optimiser and average, on prepared windows."""
    prepare: Step
    """Prepares the windows of several steps: gather, perturbation, features, encoding, noise."""
    steps: int
    """Number of steps that share one preparation."""
    operations: float
    """Floating-point operations of a step's network."""
    weights: int


def made_up_training(
    params: Params, device: torch.device = CPU, number: int = ROWS, steps: int = 10**6
) -> tuple[Trainer, Windows]:
    """A trainer with the network that the parameters describe, and windows; the same every time."""
    layout = Layout.from_params(params)
    robot = RobotModel.from_params(params.robot)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PolicyModel(params.policy, layout, policy_geometry(robot, params.task))
    data = windows(layout, params, device, number)
    model.to(device)
    few = torch.arange(min(len(data), 2000), device=device)
    model.fit([data.batch(few)], lambda *pair: pair)
    generator = torch.Generator(device).manual_seed(0)
    return Trainer(model, params.train, steps, generator, robot.limits), data


def our_step(params: Params, batch: int, device: torch.device = CPU, number: int = ROWS) -> Ours:
    """A training step of the network that the parameters describe."""
    trainer, data = made_up_training(params, device, number)
    model, generator = trainer.model, trainer.generator
    windows_of_block = data.order(generator)[: trainer.block_steps * batch]
    block, count = trainer.prepare(*data.batch(windows_of_block)), iter(range(10**9))

    def prepare() -> None:
        trainer.prepare(*data.batch(windows_of_block))

    def step() -> None:
        number = next(count)
        start = number % trainer.block_steps * batch
        trainer.step(number, block.part(slice(start, start + batch)))

    draws = params.train.noise_draws
    noise = torch.randn(draws * batch, *block.clean.shape[1:], device=device)
    steps = torch.zeros(draws * batch, device=device)
    with FlopCounterMode(display=False) as counter:
        few = data.batch(windows_of_block[:batch])
        torch.autograd.backward(model.loss(*few, noise, steps.long()))
    model.zero_grad()
    weights = sum(weight.numel() for weight in model.parameters())
    return Ours(step, prepare, trainer.block_steps, float(counter.get_total_flops()), weights)


def lerobot_step(params: Params, batch: int, device: torch.device = CPU) -> tuple[Step, int] | None:
    """LeRobot's training step with the same U-Net and condition; None if it is not installed."""
    model = lerobot_model(params.policy, device.type)
    if model is None:
        return None
    model.train()
    optimizer = torch.optim.Adam(
        model.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6
    )
    data = lerobot_batch(params.policy, batch, device.type)
    precision = choose_precision(params.train.precision, device)

    def step() -> None:
        with autocast(device, precision):
            loss = model.compute_loss(data)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, sum(weight.numel() for weight in model.parameters())


def product(device: torch.device, size: int | None = None) -> tuple[Step, float]:
    """The product whose rate is the peak, and its floating-point operations."""
    chosen = size or (8192 if device.type == "cuda" else 1024)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(chosen, chosen, device=device, dtype=dtype) for _ in range(2))
    return lambda: left @ right, 2.0 * chosen**3


def wait_for(device: torch.device) -> None:
    """Return when a device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    params: Params,
    batch: int,
    rounds: int,
    device: torch.device = CPU,
    repeats: int = 1,
    number: int = ROWS,
) -> dict[str, Any]:
    """One row of the table; on a GPU several steps are timed together, as training queues them."""
    ours = our_step(params, batch, device, number)
    multiply, operations = product(device)
    steps: dict[str, Step] = {"step": ours.step, "prepare": ours.prepare, "product": multiply}
    theirs = lerobot_step(params, batch, device) if params.policy.network == "unet" else None
    if theirs is not None:
        steps["lerobot"] = theirs[0]
    grouped = {
        name: repeated(step, repeats, lambda: wait_for(device)) for name, step in steps.items()
    }
    times = {
        name: [seconds / repeats for seconds in found]
        for name, found in interleaved(grouped, rounds).items()
    }
    least = {name: min(found) for name, found in times.items()}
    outside = least["prepare"] / ours.steps
    whole = least["step"] + outside
    peak = operations / least["product"]
    samples = batch * params.train.noise_draws
    row: dict[str, Any] = {
        "parameters": ours.weights,
        "noise_draws": params.train.noise_draws,
        "samples_per_s": samples / whole,
        "outside_share": outside / whole,
        "gflop_per_s": ours.operations / whole / 1e9,
        "peak_gflop_per_s": peak / 1e9,
        "share_of_peak": ours.operations / whole / peak,
        "seconds_least": least,
        "seconds_median": {name: float(np.median(found)) for name, found in times.items()},
    }
    if theirs is not None:
        row["lerobot_parameters"] = theirs[1]
        row["lerobot_samples_per_s"] = batch / least["lerobot"]
        row["ratio"] = row["samples_per_s"] / row["lerobot_samples_per_s"]
    return row


def line(name: str, batch: int, row: dict[str, Any]) -> str:
    """A line of the Markdown table."""
    theirs = (
        f"{row['lerobot_samples_per_s']:,.0f} | {row['ratio']:.2f}" if "ratio" in row else "– | –"
    )
    return (
        f"| {name} | {batch} × {row['noise_draws']} | {row['samples_per_s']:,.0f} "
        f"| {row['outside_share']:.1%} | {row['share_of_peak']:.0%} | {theirs} |"
    )


def main() -> None:
    """Measure every network and batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--steps", type=int, default=12, help="steps of each kind (2 for the large U-Net)"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = load_params(Path("params.yaml"))
    try:
        peer = metadata.version("lerobot")
    except metadata.PackageNotFoundError:
        peer = None
    results: dict[str, Any] = {
        "versions": {**versions("torch"), "lerobot": peer},
        "networks": {},
    }
    console.print(
        "| network | batch × draws | samples/s | outside | of the peak | LeRobot | ratio |"
    )
    console.print("|---|---|---|---|---|---|---|")
    for name, changes in NETWORKS.items():
        for batch in BATCHES:
            # One draw for the U-Nets, as LeRobot has; the recipe's two for the default.
            draws = base.train.noise_draws if changes["network"] == "mlp" else 1
            params = base.override("policy", **changes)
            params = params.override("train", noise_draws=draws, batch_size=batch)
            large = max(params.policy.unet_channels) > 500 and changes["network"] == "unet"
            quick = changes["network"] == "mlp"
            rounds = 2 if large else options.steps * (10 if quick else 1)
            row = measure(params, batch, rounds)
            row["load_average"] = os.getloadavg()[0]
            results["networks"][f"{name}, batch {batch}"] = row
            RESULTS.parent.mkdir(exist_ok=True)
            write_json(RESULTS, results)
            console.print(line(name, batch, row))


if __name__ == "__main__":
    main()
