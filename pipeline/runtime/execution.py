"""What chunk execution reports. N robots, T control steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.guard.findings import GuardReport

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ExecutionReport:
    """What the executor did since its reset. Counts are of single joints' commands."""

    commands: int
    """Joint commands sent: robots × steps × joints."""
    clipped: dict[str, int]
    """Of these, changed on behalf of the limits: by kind, position, velocity, acceleration."""
    largest_change_rad: float
    """Largest distance of a command from what the chunks asked for, rad."""
    starved_steps: int
    """Control steps for which no chunk had a row left, so that its last row was held; summed over
    the robots."""
    border: Mask
    """Whether a control step was the first of a new chunk. Shape (N, T)."""
    guard: GuardReport | None = None
    """What the guard did; None where there is none."""
