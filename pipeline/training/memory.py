"""Check whether a batch fits the device, and find the largest that does.

The memory of a step is measured on two small batches and extrapolated: a forward pass keeps the
same number of bytes for every window, and gradients and optimiser come on top. On a GPU, a batch
that `auto` chose is tried once more with a real forward and backward pass; this was never run on a
GPU, tests simulate one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.errors import PipelineError
from pipeline.policy.model import PolicyModel

PROBE_BATCHES = (8, 24)
"""Windows of the two batches that are measured."""
USABLE = 0.85
"""Share of the free memory that a step may take: the rest is workspace and fragmentation."""
WEIGHT_COPIES = 3
"""Copies of the weights that a step makes: the gradient and AdamW's two moments."""
CPU_BATCH = 64
"""Largest batch that `train.batch_size: auto` takes on a CPU: the default recipe's."""
GPU_BATCH = 256
"""Largest batch that auto takes on a GPU, as the team uses with 24 GB."""


class MemoryLimitError(PipelineError):
    """A batch does not fit the device."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed because memory ran out, on a GPU or on the CPU.

    Args:
        error: what torch raised.
    """
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that live at once inside the context, on any device.

    Storages count from the operator that returns them until they are freed. Tensors from before are
    not counted.
    """

    def __init__(self) -> None:
        """Count from zero."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator and count what it made."""
        before = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if _owns(leaf)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if _owns(leaf) and _storage(leaf) not in before | self._known:
                self._add(leaf.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size


def _owns(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.layout == torch.strided


def _storage(leaf: Tensor) -> int:
    return int(leaf.untyped_storage()._cdata)


def forward_bytes(model: PolicyModel, obs: Tensor, action: Tensor, draws: int) -> int:
    """Bytes that live at once in a forward pass, most of them kept for the backward pass.

    The backward pass frees them while it makes the gradients, so that both together bound a step.

    Args:
        model: the policy.
        obs: raw observations, shape (B, T, S), on the model's device.
        action: rad, shape (B, H, A).
        draws: noise draws of each observation.
    """
    shape = (draws * len(obs), *action.shape[1:])
    noise = torch.zeros(shape, device=obs.device)
    steps = torch.zeros(shape[:1], dtype=torch.int64, device=obs.device)
    if obs.device.type != "cuda":
        with PeakMemory() as memory:
            kept = model.loss(obs, action, noise, steps)
        del kept
        return int(memory.peak)
    torch.cuda.reset_peak_memory_stats(obs.device)
    before = torch.cuda.memory_allocated(obs.device)
    kept = model.loss(obs, action, noise, steps)
    del kept
    most: int = torch.cuda.max_memory_allocated(obs.device)
    return most - before


def free_bytes(device: torch.device) -> int:
    """Memory that a training may still take.

    Args:
        device: a GPU's own memory, or the machine's for the CPU, less where a container limits it.

    Raises:
        MemoryLimitError: the system does not say.
    """
    if device.type == "cuda":
        # What torch has reserved and does not use is free for the same process.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration) as error:
        raise MemoryLimitError(
            f"/proc/meminfo does not say how much memory is free ({error}); name a number as "
            "train.batch_size"
        ) from error
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no limit ("max"), or no cgroup v2
        return free * 1024
    return min(free * 1024, limit - used)


class BatchMemory:
    """Memory of a training step as a linear function of its batch."""

    def __init__(self, model: PolicyModel, obs: Tensor, action: Tensor, draws: int) -> None:
        """Measure two small batches, after a first pass that does not count.

        The first pass on a GPU allocates what stays for good, as cuBLAS's workspace. Counted in
        the smaller batch, it would make a larger batch look cheaper.

        Args:
            model: the policy, on its device.
            obs: one raw observation, shape (1, T, S), repeated as needed.
            action: its actions, rad, shape (1, H, A).
            draws: noise draws of each observation.
        """
        _, few, many = (
            forward_bytes(model, obs.repeat(n, 1, 1), action.repeat(n, 1, 1), draws)
            for n in (max(PROBE_BATCHES), *PROBE_BATCHES)
        )
        weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
        # A window takes at least its own noise, whatever an allocator reports.
        least = draws * action[0].numel() * action.element_size()
        self.window = max((many - few) / (PROBE_BATCHES[1] - PROBE_BATCHES[0]), float(least))
        self.fixed = few - self.window * PROBE_BATCHES[0] + WEIGHT_COPIES * weights

    def needed(self, batch: int) -> int:
        """Bytes for a batch of this many windows."""
        return int(self.fixed + self.window * batch)

    def fitting(self, free: int) -> int:
        """The largest power of two of windows that fits, 0 where not even one does.

        Args:
            free: bytes.
        """
        most = int((USABLE * free - self.fixed) / self.window)
        return 2 ** (most.bit_length() - 1) if most >= 1 else 0


def choose_batch(
    batch_size: int | Literal["auto"], memory: BatchMemory, free: int, device: torch.device
) -> int:
    """The batch that training takes.

    Args:
        batch_size: `train.batch_size`.
        memory: of this network.
        free: bytes on the device.
        device: where training runs.

    Raises:
        MemoryLimitError: the batch does not fit; the message names the one that would.
    """
    fitting = memory.fitting(free)
    if batch_size == "auto" and fitting:
        return min(fitting, GPU_BATCH if device.type == "cuda" else CPU_BATCH)
    asked = 1 if batch_size == "auto" else batch_size
    if memory.needed(asked) > USABLE * free:
        advice = (
            f"train.batch_size {fitting} (or auto) fits"
            if fitting
            else "not even one window fits: choose a smaller network"
        )
        raise MemoryLimitError(
            f"train.batch_size is {batch_size}: a step of {asked} windows takes about "
            f"{memory.needed(asked) / 1e9:.2f} GB, and {device} has {free / 1e9:.2f} GB free, of "
            f"which {USABLE:.0%} may be used; {advice}"
        )
    return asked


def largest_that_runs(batch: int, run: Callable[[int], object]) -> int:
    """Halve a batch until it runs.

    Args:
        batch: windows to begin with.
        run: takes a step of so many windows, or raises torch's error for exhausted memory.

    Raises:
        MemoryLimitError: not even one window runs.
    """
    while True:
        try:
            run(batch)
            return batch
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if batch == 1:
                raise MemoryLimitError(
                    f"a step of one window does not fit ({str(error).splitlines()[0]}); free "
                    "memory, or choose a smaller network"
                ) from error
        batch //= 2


def try_batch(model: PolicyModel, obs: Tensor, action: Tensor, draws: int, batch: int) -> int:
    """The largest batch whose forward and backward pass really run, by halving.

    Args:
        model: the policy, on its device; its gradients stay as they are.
        obs: one raw observation, shape (1, T, S).
        action: its actions, rad, shape (1, H, A).
        draws: noise draws of each observation.
        batch: windows to begin with.

    Raises:
        MemoryLimitError: not even one window runs.
    """

    def run(windows: int) -> None:
        shape = (draws * windows, *action.shape[1:])
        noise = torch.zeros(shape, device=obs.device)
        steps = torch.zeros(shape[:1], dtype=torch.int64, device=obs.device)
        loss = model.loss(obs.repeat(windows, 1, 1), action.repeat(windows, 1, 1), noise, steps)
        # Kept together: gradients, and as much again twice for AdamW's moments.
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        _ = [gradients, *([torch.empty_like(each) for each in gradients] for _ in range(2))]

    found = largest_that_runs(batch, run)
    if obs.device.type == "cuda":
        torch.cuda.empty_cache()
    return found
