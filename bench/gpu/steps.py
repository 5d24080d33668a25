"""Parts of `bench.gpu` that take single training steps: speed, parity with the CPU, memory."""

from __future__ import annotations

from typing import Any

import torch

from bench.gpu.part import Part
from pipeline.params import Params

RUNS = (("bf16", "off"), ("bf16", "graphs"), ("fp32", "off"), ("fp32", "graphs"), ("bf16", "on"))
"""Number formats and values of `train.compile`, in the order in which they are measured."""


def part_train(part: Part) -> None:
    """Samples/s of every network, beside LeRobot's step and the rate of a large product."""
    from bench.train import measure

    batch, number = (16, 200) if part.tiny else (256, 20000)
    rounds, repeats = (1, 1) if part.tiny else (5, 20)
    for precision, compilation in RUNS:
        for name, params in part.networks():
            draws = params.train.noise_draws if params.policy.network == "mlp" else 1
            chosen = params.override(
                "train", precision=precision, compile=compilation, batch_size=batch,
                noise_draws=draws, threads=1,
            )  # fmt: skip
            key = f"{name}, {precision}, {compilation}"
            if part.device.type != "cuda" and compilation != "off":
                part.keep(key, "not available: a CPU has no CUDA graphs")
                continue

            def row(chosen: Params = chosen) -> dict[str, Any]:
                torch.compiler.reset()
                return measure(chosen, batch, rounds, part.device, repeats, number)

            part.attempt(key, row)


def part_parity(part: Part) -> None:
    """Loss and gradient here against the CPU's in float32: same weights, windows and noise."""
    from bench.train import made_up_training
    from pipeline.training.trainer import Prepared

    cpu = torch.device("cpu")

    def compare(params: Params) -> dict[str, float]:
        exact = params.override("train", precision="fp32")
        (ours, _), (theirs, data) = (
            made_up_training(chosen, device, 200 if part.tiny else 2000)
            for chosen, device in ((params, part.device), (exact, cpu))
        )
        first = theirs.prepare(*data.batch(torch.arange(64)))
        there = Prepared(*(value.to(part.device) for value in vars(first).values()))
        losses = [float(ours.step(0, there)), float(theirs.step(0, first))]
        gradients = [
            torch.cat(
                [w.grad.flatten().cpu() for w in each.model.parameters() if w.grad is not None]
            )
            for each in (ours, theirs)
        ]
        difference = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
        return {
            "loss": losses[0],
            "loss_on_cpu": losses[1],
            "relative_loss": abs(losses[0] - losses[1]) / losses[1],
            "relative_gradient": float(difference),
        }

    for name, params in part.networks():
        for precision in ("fp32", "bf16"):
            plain = params.override("train", precision=precision, compile="off", threads=1)
            part.attempt(f"{name}, {precision}", lambda plain=plain: compare(plain))


def part_batch(part: Part) -> None:
    """What `train.batch_size: auto` takes, and whether a step takes the memory it expects."""
    from bench.train import made_up_training
    from pipeline.training.memory import BatchMemory, choose_batch, free_bytes, try_batch

    def choose(params: Params) -> dict[str, Any]:
        trainer, data = made_up_training(params, part.device, 200)
        draws = params.train.noise_draws
        first = data.batch(torch.zeros(1, dtype=torch.int64, device=part.device))
        memory = BatchMemory(trainer.model, *first, draws)
        chosen = choose_batch("auto", memory, free_bytes(part.device), part.device)
        found: dict[str, Any] = {
            "bytes_a_window": round(memory.window), "chosen": chosen,
            "expected_bytes": memory.needed(chosen),
        }  # fmt: skip
        if part.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(part.device)
            before = torch.cuda.memory_allocated(part.device)
        found["ran"] = try_batch(trainer.model, *first, draws, chosen)
        if part.device.type == "cuda":
            found["measured_bytes"] = torch.cuda.max_memory_allocated(part.device) - before
        return found

    for name, params in part.networks():
        part.attempt(name, lambda params=params: choose(params))
