"""Cores and processor of this machine. Needs the standard library alone, as a robot has it."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path


def available_cores(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its affinity, and a container's CPU quota where it has one.

    Args:
        cgroups: where the kernel shows control groups, version 2 or 1 (its cgroups manuals).
    """
    cores = len(os.sched_getaffinity(0))
    quota = _read_numbers(cgroups / "cpu.max") or [
        *_read_numbers(cgroups / "cpu/cpu.cfs_quota_us"),
        *_read_numbers(cgroups / "cpu/cpu.cfs_period_us"),
    ]
    if len(quota) == 2 and quota[0] > 0 and quota[1] > 0:
        return max(1, min(cores, math.ceil(quota[0] / quota[1])))
    return cores


def _read_numbers(path: Path) -> list[float]:
    """The numbers in a file; none where it is missing or says that there is no limit."""
    try:
        return [float(word) for word in path.read_text().split()]
    except (OSError, ValueError):  # "max" is no number
        return []


def processor() -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
