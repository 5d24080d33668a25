"""Choose number format and compilation of the training step.

Both change rounding and speed, not what is computed. The code for GPUs follows torch's
documentation; it has not been run on a GPU.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.policy.model import PolicyModel

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Compilation = Literal["auto", "on", "graphs", "off"]
LONG_TRAINING = 50_000
"""Steps from which auto compiles. Compilation takes a minute or two, which a step that becomes two
milliseconds shorter repays after so many; assumed, not measured."""
BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which a GPU multiplies bfloat16 (NVIDIA Ampere)."""
LEAST_CAPABILITY = (7, 0)
"""Compute capability from which torch.compile's code generator (Triton) works."""


class ComputeError(PipelineError):
    """The machine cannot compute in the requested way."""


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


def choose_compile(name: Compilation, device: torch.device, steps: int) -> dict[str, Any] | None:
    """How torch.compile makes the loss and its gradient.

    Args:
        name: `train.compile`; auto compiles long trainings on a GPU that can, and never on a CPU,
            where a minute or two of compilation gains little.
        device: where training runs.
        steps: of the whole training.

    Returns:
        Options of torch.compile; None to leave the loss as it is.

    Raises:
        ComputeError: on or graphs, where what they need is missing.
    """
    gpu = device.type == "cuda"
    if name == "off" or (name == "auto" and not (gpu and steps >= LONG_TRAINING)):
        return None
    if name == "graphs":
        if not gpu:
            raise ComputeError(
                f"train.compile is graphs, but {device} has none; expected auto, on or off"
            )
        return {"backend": "cudagraphs"}
    if gpu:
        capable = torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY
        missing = [] if importlib.util.find_spec("triton") else ["the package triton"]
        # Triton compiles its launchers with the system's compiler.
        missing += [] if any(map(shutil.which, ("gcc", "clang"))) else ["a C compiler (gcc)"]
        missing += [] if capable else ["a GPU of compute capability 7.0 or more"]
    else:
        missing = [] if any(map(shutil.which, ("g++", "clang++"))) else ["a C++ compiler (g++)"]
    if missing and name == "on":
        lacks = " and ".join(missing)
        raise ComputeError(f"train.compile is on, but {device} lacks {lacks}; expected auto or off")
    return None if missing else {"mode": "reduce-overhead" if gpu else "default"}


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """The context in which the network's products run in another format; none for float32.

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
    compilation: Compilation,
    steps: int,
    rows: int,
) -> Loss:
    """`PolicyModel.denoising_loss` in the chosen number format, compiled if that is asked for.

    Only the full batch is compiled: an epoch's last batch is smaller, and a second shape would take
    as long to compile for one step in an epoch.

    Args:
        model: the policy, on its device.
        precision: `train.precision`.
        compilation: `train.compile`.
        steps: of the whole training.
        rows: noisy chunks of a full batch on this worker.

    Returns:
        A function of conditions, encoded actions, noise and steps, whose result has a gradient.

    Raises:
        ComputeError: the machine cannot do what is asked.
    """
    device = next(model.parameters()).device
    dtype = choose_precision(precision, device)
    if device.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False  # else convolutions round to ten bits

    def loss(condition: Tensor, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        return model.denoising_loss(condition, clean, noise, steps, lambda: autocast(device, dtype))

    options = choose_compile(compilation, device, steps)
    if options is None:
        return loss
    compiled: Loss = torch.compile(loss, dynamic=False, **options)

    def captured(condition: Tensor, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        if len(noise) != rows:
            return loss(condition, clean, noise, steps)
        if device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # A CUDA graph writes its result to the same place in every step.
        return compiled(condition, clean, noise, steps).clone()

    return captured
