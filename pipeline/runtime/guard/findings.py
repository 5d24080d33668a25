"""What the guard found of each chunk, and what became of it. N robots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["free", "unsafe", "repaired", "resampled", "held"]
VERDICTS: tuple[Verdict, ...] = ("free", "unsafe", "repaired", "resampled", "held")
"""`unsafe` is a chunk that was only checked and is sent as it is."""


@dataclass(frozen=True)
class Finding:
    """What became of one robot's newest chunk."""

    verdict: Verdict
    first: str = ""
    """Link of the pair that the policy's own chunk came nearest to touching; empty where free."""
    second: str = ""
    """What it came near to."""
    clearance_m: float = np.inf
    """Least distance of that pair on the policy's own chunk, m; below 0 where it would touch."""

    def __str__(self) -> str:
        """As logs and tables show it."""
        if self.verdict == "free":
            return "free"
        return f"{self.verdict}: {self.first} {1e3 * self.clearance_m:.1f} mm from {self.second}"


@dataclass(frozen=True)
class GuardReport:
    """What the guard did since its reset."""

    counts: dict[Verdict, NDArray[np.int64]]
    """Chunks by verdict and robot. Shape (N,) each."""
    last: tuple[Finding, ...]
    """Of each robot's newest chunk."""
    worst: tuple[Finding, ...]
    """Of each robot's chunk with the gravest verdict, the earliest of them."""

    def total(self) -> dict[str, int]:
        """Chunks of all robots by verdict."""
        return {verdict: int(count.sum()) for verdict, count in self.counts.items()}
