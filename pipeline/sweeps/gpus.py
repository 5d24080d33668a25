"""Which GPU a parallel worker gets. DVC assigns none: every worker would take the first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from pipeline.errors import PipelineError

VISIBLE = "CUDA_VISIBLE_DEVICES"


class GpuError(PipelineError):
    """The list of GPUs is none."""


def find_gpus(chosen: str | None = None) -> list[str]:
    """GPUs that workers may use, as CUDA_VISIBLE_DEVICES names them.

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
    wrong = [name for name in names if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", name)]
    if wrong or len(set(names)) < len(names):
        raise GpuError(
            f"GPUs {chosen!r}: expected different numbers or names with commas between, such as "
            "0,1; `nvidia-smi -L` lists them"
        )
    return names


def worker_environment(worker: int, gpus: list[str]) -> dict[str, str]:
    """What a worker's environment says of GPUs; workers beyond their number share them in turn.

    Args:
        worker: its number, from 0.
        gpus: from `find_gpus`.
    """
    return {VISIBLE: gpus[worker % len(gpus)]} if gpus else {}


def _listed() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    done = subprocess.run(
        [program, "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return [line.strip() for line in done.stdout.splitlines() if line.strip().isdigit()]
