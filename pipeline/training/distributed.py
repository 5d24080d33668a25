"""Train one policy in several processes, each on its part of every batch.

Each worker draws the same batch and the same noise and computes its slice; gradients are summed.
So the number of workers changes only the order of sums.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.errors import PipelineError

TIMEOUT = timedelta(minutes=60)
"""How long workers wait for the main process, which alone validates, rolls out and writes."""
RESTARTS = 1
"""How often torchrun starts all workers again after one was lost; they go on from the last state.

More would only repeat an error that does not pass.
"""


class WorkerError(PipelineError):
    """A worker ended early, or the workers cannot be started."""


@dataclass(frozen=True)
class Workers:
    """The place of this process among those that share a training."""

    rank: int
    """From 0."""
    size: int
    late_errors: bool = False
    """Whether a lost worker may show only after later steps, as with NCCL: only the GPU waits for
    its sums. Weights may then be wrong already, so only a state saved before counts; NCCL may also
    end the process itself. Never run on a GPU."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def part(self, number: int) -> slice:
        """This worker's rows of a batch. The parts are even and cover every row once.

        Args:
            number: rows of the batch.
        """
        return slice(number * self.rank // self.size, number * (self.rank + 1) // self.size)

    def sum_gradients(self, weights: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Sum gradients and loss over the workers, in one message.

        Args:
            weights: with the gradients of this worker's part, weighted by its share; afterwards
                with those of the whole batch.
            loss: of this worker's part, weighted by its share.

        Returns:
            The whole batch's loss.

        Raises:
            WorkerError: another worker is gone.
        """
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        message = torch.cat([*(gradient.flatten() for gradient in gradients), loss.reshape(1)])
        try:
            dist.all_reduce(message)
        except RuntimeError as error:
            raise WorkerError(f"a worker is gone ({_reason(error)})") from error
        sizes = [gradient.numel() for gradient in gradients]
        *sums, total = torch.split(message, [*sizes, 1])
        torch._foreach_copy_(
            gradients, [part.view_as(old) for part, old in zip(sums, gradients, strict=True)]
        )
        return total[0]

    def broadcast(self, value: Any) -> Any:
        """Send the main process's value to all workers.

        Args:
            value: anything that can be pickled; values of other workers are ignored.

        Raises:
            WorkerError: another worker is gone.
        """
        if self.size == 1:
            return value
        values = [value if self.is_main else None]
        try:
            dist.broadcast_object_list(values, src=0)
        except RuntimeError as error:
            raise WorkerError(f"a worker is gone ({_reason(error)})") from error
        return values[0]

    def least(self, value: int) -> int:
        """The smallest value of all workers, on each of them.

        Args:
            value: this worker's.

        Raises:
            WorkerError: another worker is gone.
        """
        if self.size == 1:
            return value
        values: list[int] = [value] * self.size
        try:
            dist.all_gather_object(values, value)
        except RuntimeError as error:
            raise WorkerError(f"a worker is gone ({_reason(error)})") from error
        return min(values)


def _reason(error: RuntimeError) -> str:
    """First sentence of an error of gloo or NCCL, without the line of their source."""
    first = str(error).splitlines()[0]
    if first.startswith("["):
        first = first.partition("] ")[2]
    return first.partition(". ")[0]


SINGLE_PROCESS = Workers(0, 1)
"""A training in one process."""


def torchrun_size() -> int:
    """Number of workers that torchrun started this process as one of; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def worker_device(device: torch.device) -> torch.device:
    """The GPU of this worker when several workers share a machine.

    Args:
        device: what a single process would take.
    """
    if device.type != "cuda" or torchrun_size() == 1:
        return device
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


@contextmanager
def joined_workers(device: torch.device) -> Iterator[Workers]:
    """Join the workers that torchrun started, NCCL on GPUs and gloo on CPUs.

    Args:
        device: of this worker.
    """
    if device.index is not None:  # else the first GPU, which is current already
        torch.cuda.set_device(device)
    if torchrun_size() == 1:
        yield SINGLE_PROCESS
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), late_errors=backend == "nccl")
    finally:
        dist.destroy_process_group()


def launch(processes: int, arguments: Sequence[str | Path]) -> None:
    """Run a command of the pipeline in several workers on this machine and wait for them.

    If a worker is lost, torchrun ends the others and starts all of them once more.

    Args:
        processes: number of workers; 0 starts one for each GPU.
        arguments: of `python -m pipeline`.

    Raises:
        WorkerError: there is no GPU to count, or a worker failed and printed why.
    """
    number = processes or torch.cuda.device_count()
    if number == 0:
        raise WorkerError(
            "train.devices 0 starts one worker for each GPU, but torch sees none; expected a "
            "number of CPU workers, or a GPU that `nvidia-smi` shows"
        )
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={number}", f"--max-restarts={RESTARTS}",
        "-m", "pipeline", *map(str, arguments),
    ]  # fmt: skip
    # torch 2.13 shares torchrun's own store with the workers and keeps it for a restart, whose
    # workers then find the addresses of those that are gone.
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    asked: list[int] = []
    with subprocess.Popen(command, env=environment) as process:

        def forward_signal(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            process.send_signal(signal.SIGTERM)

        previous = {
            name: signal.signal(name, forward_signal) for name in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            status = process.wait()
        finally:
            for name, handler in previous.items():
                signal.signal(name, handler)
    if asked:
        raise SystemExit(128 + asked[0])
    if status != 0:
        raise WorkerError(
            f"training in {number} workers ended with status {status}; the reason is printed "
            "above. Run the same command again: it goes on from the last saved state"
        )
