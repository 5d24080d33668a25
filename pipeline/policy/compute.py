"""How the arithmetic of training runs: number format, compilation, threads.

Nothing here changes what is computed, only in which digits and how fast. What concerns a GPU was
written by torch's manual and has not been run: no GPU was at hand.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.policy.model import PolicyModel

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
PROBE_STEPS = 8
"""Steps that are timed for each number of threads; the fastest counts."""
PROBE_GAIN = 0.9
"""A larger number of threads must take less than this share of the time of a smaller one."""
BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which a GPU multiplies bfloat16 (NVIDIA Ampere)."""
LEAST_CAPABILITY = (7, 0)
"""Compute capability from which torch.compile's code generator (Triton) works."""


class ComputeError(PipelineError):
    """The machine cannot compute as it is asked to."""


def choose_precision(name: Literal["auto", "fp32", "bf16"], device: torch.device) -> torch.dtype:
    """The format of the network's products; weights, features and losses stay in float32.

    Args:
        name: `train.precision`; auto takes bfloat16 where a GPU multiplies it, else float32.
        device: where training runs.

    Raises:
        ComputeError: bf16 on a GPU that has no such products.
    """
    if name == "fp32":
        return torch.float32
    if device.type != "cuda":
        return torch.bfloat16 if name == "bf16" else torch.float32
    native = torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY
    if name == "bf16" and not native:
        raise ComputeError(
            f"train.precision is bf16, but {torch.cuda.get_device_name(device)} has no bfloat16 "
            "products (compute capability 8.0 or more has); expected fp32 or auto"
        )
    return torch.bfloat16 if native else torch.float32


def choose_compile(name: Literal["auto", "on", "off"], device: torch.device) -> bool:
    """Whether the loss and its gradient are compiled (on a GPU as one CUDA graph).

    Args:
        name: `train.compile`; auto compiles on a GPU that can, and never on a CPU, where a minute
            or two of compilation gains little.
        device: where training runs.

    Raises:
        ComputeError: on, where what compiles is missing.
    """
    if name == "off" or (name == "auto" and device.type != "cuda"):
        return False
    if device.type == "cuda":
        capable = torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY
        missing = [] if importlib.util.find_spec("triton") else ["the package triton"]
        missing += [] if capable else ["a GPU of compute capability 7.0 or more"]
    else:
        missing = [] if any(map(shutil.which, ("g++", "clang++"))) else ["a C++ compiler (g++)"]
    if missing and name == "on":
        raise ComputeError(
            f"train.compile is on, but {device} lacks {' and '.join(missing)}; expected auto or off"
        )
    return not missing


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Where the network's products run in another format; float32 costs nothing.

    Args:
        device: where the network lies.
        precision: see `choose_precision`.
    """
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def training_loss(
    model: PolicyModel,
    precision: Literal["auto", "fp32", "bf16"],
    compilation: Literal["auto", "on", "off"],
) -> Loss:
    """`PolicyModel.loss` as it is to be computed on the model's device.

    Args:
        model: the policy, on its device.
        precision: `train.precision`.
        compilation: `train.compile`.

    Returns:
        A function of observations, actions, noise and steps, whose result has a gradient.

    Raises:
        ComputeError: the machine cannot do what is asked.
    """
    device = next(model.parameters()).device
    dtype = choose_precision(precision, device)

    def loss(obs: Tensor, action: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        return model.loss(obs, action, noise, steps, lambda: autocast(device, dtype))

    if not choose_compile(compilation, device):
        return loss
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    # Two shapes at most, a full batch and an epoch's last: one graph each.
    compiled: Loss = torch.compile(loss, mode=mode, dynamic=False)

    def captured(obs: Tensor, action: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # A CUDA graph writes its result to the same place in every step.
        return compiled(obs, action, noise, steps).clone()

    return captured


def thread_choices(cores: int) -> list[int]:
    """Numbers of threads worth a try: powers of two below the cores, and the cores.

    Args:
        cores: that this process may use.
    """
    return sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})


def fastest(choices: Sequence[int], seconds: Callable[[int], float]) -> int:
    """The smallest choice that no larger one beats by much.

    Args:
        choices: rising.
        seconds: what a step takes with a choice.
    """
    best, least = choices[0], seconds(choices[0])
    for choice in choices[1:]:
        found = seconds(choice)
        if found < PROBE_GAIN * least:
            best, least = choice, found
    return best


def find_threads(model: PolicyModel, obs: Tensor, action: Tensor, draws: int) -> int:
    """The number of CPU threads with which a step of this network is fastest on this machine.

    A copy of the model is timed: nothing that training depends on moves. The number found depends
    on what else the machine does, and sums of floats on the number, so a training that must repeat
    bit for bit names its number.

    Args:
        model: the policy, on the CPU.
        obs: a batch of raw observations, shape (B, T, S).
        action: its actions, rad, shape (B, H, A).
        draws: noise draws of each observation.
    """
    trial = copy.deepcopy(model)
    shape = (draws * len(obs), *action.shape[1:])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shape, generator=generator)
    steps = torch.randint(trial.params.num_train_steps, shape[:1], generator=generator)
    before = torch.get_num_threads()

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        times = []
        for _ in range(PROBE_STEPS + 1):
            started = time.perf_counter()
            torch.autograd.backward(trial.loss(obs, action, noise, steps))
            times.append(time.perf_counter() - started)
        return min(times[1:])

    try:
        return fastest(thread_choices(len(os.sched_getaffinity(0))), seconds)
    finally:
        torch.set_num_threads(before)
