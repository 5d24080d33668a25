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
from typing import Literal

import torch
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.policy.model import PolicyModel

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
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
        # Triton compiles its launchers with the system's compiler.
        missing += [] if any(map(shutil.which, ("gcc", "clang"))) else ["a C compiler (gcc)"]
        missing += [] if capable else ["a GPU of compute capability 7.0 or more"]
    else:
        missing = [] if any(map(shutil.which, ("g++", "clang++"))) else ["a C++ compiler (g++)"]
    if missing and name == "on":
        lacks = " and ".join(missing)
        raise ComputeError(f"train.compile is on, but {device} lacks {lacks}; expected auto or off")
    return not missing


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
    compilation: Literal["auto", "on", "off"],
) -> Loss:
    """`PolicyModel.denoising_loss` in the chosen number format, compiled if that is asked for.

    Args:
        model: the policy, on its device.
        precision: `train.precision`.
        compilation: `train.compile`.

    Returns:
        A function of conditions, encoded actions, noise and steps, whose result has a gradient.

    Raises:
        ComputeError: the machine cannot do what is asked.
    """
    device = next(model.parameters()).device
    dtype = choose_precision(precision, device)

    def loss(condition: Tensor, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        return model.denoising_loss(condition, clean, noise, steps, lambda: autocast(device, dtype))

    if not choose_compile(compilation, device):
        return loss
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    # Two shapes at most, a full batch and an epoch's last: one graph each.
    compiled: Loss = torch.compile(loss, mode=mode, dynamic=False)

    def captured(condition: Tensor, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # A CUDA graph writes its result to the same place in every step.
        return compiled(condition, clean, noise, steps).clone()

    return captured
