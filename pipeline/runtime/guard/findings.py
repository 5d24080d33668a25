"""The guard's results: a verdict for each chunk, and totals. N robots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["free", "unsafe", "repaired", "resampled", "held"]
VERDICTS: tuple[Verdict, ...] = ("free", "unsafe", "repaired", "resampled", "held")
"""In order of severity. An `unsafe` chunk was checked only and is sent unchanged."""


@dataclass(frozen=True)
class Finding:
    """The guard's verdict on one chunk of one robot, and the reason."""

    verdict: Verdict
    first: str = ""
    """Link that violates the margin most on the policy's own chunk; empty if the chunk is free."""
    second: str = ""
    """Name of the body that the link comes too close to."""
    clearance_m: float = np.inf
    """Distance of that pair on the policy's own chunk, m; negative if they would collide."""

    def __str__(self) -> str:
        """Format the finding for logs and tables."""
        if self.verdict == "free":
            return "free"
        return f"{self.verdict}: {self.first} {1e3 * self.clearance_m:.1f} mm from {self.second}"


@dataclass(frozen=True)
class GuardReport:
    """What the guard has done since its reset."""

    counts: dict[Verdict, NDArray[np.int64]]
    """Number of chunks by verdict, for each robot. Shape (N,) each."""
    last: tuple[Finding, ...]
    """Finding on each robot's newest chunk."""
    worst: tuple[Finding, ...]
    """Each robot's finding with the most severe verdict; the earliest one if there are several."""

    def total(self) -> dict[str, int]:
        """Number of chunks by verdict, summed over the robots."""
        return {verdict: int(count.sum()) for verdict, count in self.counts.items()}
