"""Cores, processor and rounding of this machine. Needs only the standard library."""

from __future__ import annotations

import math
import os
import platform
import sys
from pathlib import Path


def available_cores(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the cores that this process may use, by its affinity and the CPU quota of a container.

    Args:
        cgroups: folder of the kernel's control groups, version 2 or 1.
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
    """Read the numbers in a file; none if it is missing or sets no limit."""
    try:
        return [float(word) for word in path.read_text().split()]
    except (OSError, ValueError):  # "max" is not a number
        return []


def processor() -> str:
    """Return the processor's name from Linux, otherwise from Python."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def fix_rounding() -> None:
    """Make NumPy and OpenBLAS round alike on every x86-64 CPU that has AVX2 and FMA.

    Both choose code by the CPU, and code for AVX-512 rounds differently from code for AVX2. Takes
    effect before NumPy is imported, in this process and its children. Other CPUs, and variables
    that are already set, are left alone.
    """
    if "numpy" in sys.modules or platform.machine() != "x86_64" or not _has_avx2():
        return
    os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
    os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4,AVX512_ICL,AVX512_SPR")


def _has_avx2() -> bool:
    """Whether OpenBLAS's code for Haswell runs here; it would not check."""
    try:
        return {"avx2", "fma"} <= set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
