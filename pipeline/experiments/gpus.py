"""A GPU of its own for each of several runs at a time. DVC assigns none.

A stage claims one when it starts, by a lock that goes with its process. So it does not matter who
started the run: DVC's workers, a search, or someone's own `dvc exp run --temp`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from pipeline.errors import PipelineError

VISIBLE = "CUDA_VISIBLE_DEVICES"
SHARED = "PIPELINE_GPUS"
"""Environment variable with the GPUs that runs share out among themselves, such as 0,1."""
USERS = ("train", "evaluate", "export")
"""Commands that use a GPU."""
POLL_S = 0.5
_held: list[int] = []


class GpuError(PipelineError):
    """The list of GPUs is none."""


def find_gpus(chosen: str | None = None) -> list[str]:
    """GPUs that parallel runs may use, as CUDA_VISIBLE_DEVICES names them.

    Args:
        chosen: "0,1" or names such as GPU-8f2…; None takes CUDA_VISIBLE_DEVICES where it is set,
            else what the driver's nvidia-smi lists.

    Raises:
        GpuError: `chosen` is no such list.
    """
    if chosen is None:
        chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return _listed()
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    wrong = [name for name in names if not re.fullmatch(r"\d+|(GPU|MIG)-[\w-]+", name)]
    if wrong or len(set(names)) < len(names):
        raise GpuError(
            f"GPUs {chosen!r}: expected different numbers or names with commas between, such as "
            "0,1; `nvidia-smi -L` lists them"
        )
    return names


def claim_gpu() -> str | None:
    """Take a GPU that no other run has, for as long as this process lives.

    Waits until one is free. The locks stand below the original repository (DVC_ROOT), so that runs
    in DVC's temporary folders see each other.

    Returns:
        Its name, which CUDA_VISIBLE_DEVICES now holds; None where PIPELINE_GPUS shares out none.

    Raises:
        GpuError: PIPELINE_GPUS is no list of GPUs.
    """
    if not os.environ.get(SHARED):
        return None
    gpus = find_gpus(os.environ[SHARED])
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".state" / "sweep"
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


def _listed() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    done = subprocess.run(
        [program, "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return [line.strip() for line in done.stdout.splitlines() if line.strip().isdigit()]
