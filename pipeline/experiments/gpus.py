"""Assigns a GPU to each of several parallel runs, because DVC assigns none.

A stage claims a GPU when it starts, by a lock that ends with its process. So it does not matter who
started the run: DVC's workers, a search, or a user's own `dvc exp run --temp`.
"""

from __future__ import annotations

import fcntl
import os
import re
import time

from pipeline.errors import PipelineError
from pipeline.run import state_root

VISIBLE = "CUDA_VISIBLE_DEVICES"
SHARED = "PIPELINE_GPUS"
"""Environment variable with the GPUs that parallel runs divide among themselves, such as 0,1."""
USERS = ("train", "evaluate", "export")
"""Commands that use a GPU."""
POLL_S = 0.5
_held: list[int] = []


class GpuError(PipelineError):
    """A list of GPUs is malformed."""


def find_gpus(chosen: str | None = None) -> list[str]:
    """List the GPUs that parallel runs may use, as CUDA_VISIBLE_DEVICES names them.

    Args:
        chosen: "0,1" or names such as GPU-8f2…; None takes CUDA_VISIBLE_DEVICES if it is set,
            else all GPUs that the NVIDIA driver reports.

    Raises:
        GpuError: `chosen` is malformed.
    """
    if chosen is None:
        chosen = os.environ.get(VISIBLE)
    if chosen is None:
        from pipeline.runtime.backends.driver_process import find_gpus as ask_driver

        return [str(index) for index in range(len(ask_driver()[0]))]
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    wrong = [name for name in names if not re.fullmatch(r"\d+|(GPU|MIG)-[\w-]+", name)]
    if wrong or len(set(names)) < len(names):
        raise GpuError(
            f"GPUs {chosen!r}: expected different numbers or names separated by commas, such as "
            "0,1; `nvidia-smi -L` lists them"
        )
    return names


def claim_gpu() -> str | None:
    """Claim a GPU that no other run uses, until this process ends. Wait until one is free.

    The locks are below the original repository (DVC_ROOT), so that runs in DVC's temporary folders
    see each other.

    Returns:
        Its name, to which CUDA_VISIBLE_DEVICES is set; None if PIPELINE_GPUS is not set.

    Raises:
        GpuError: PIPELINE_GPUS is malformed.
    """
    if not os.environ.get(SHARED):
        return None
    gpus = find_gpus(os.environ[SHARED])
    folder = state_root("sweep")
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for gpu in gpus:
            descriptor = os.open(folder / f"gpu-{gpu}.lock", os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            _held.append(descriptor)
            os.environ[VISIBLE] = gpu
            return gpu
        time.sleep(POLL_S)
