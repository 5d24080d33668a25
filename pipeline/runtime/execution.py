"""The report on chunk execution. N robots, T control steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.guard.findings import GuardReport

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ExecutionReport:
    """What the executor has done since its reset. Every joint's command is counted separately."""

    commands: int
    """Joint commands sent: robots × steps × joints."""
    clipped: dict[str, int]
    """Commands changed by a limit, by kind: position, velocity, acceleration."""
    largest_change_rad: float
    """Largest difference between a command and its target, rad."""
    starved_steps: int
    """Control steps at which no chunk had a row left and the last row was held, summed over the
    robots."""
    border: Mask
    """Whether a control step was the first one of a new chunk. Shape (N, T)."""
    guard: GuardReport | None = None
    """What the guard did; None without a guard."""
    redirected: NDArray[np.int64] | None = None
    """Motions that were started from noise because the policy's own would not have arrived; None
    without rehearsals. Shape (N,)."""
