"""Times of a stream's samples: the publisher's stamps, or the log's times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

# A recorder that empties its queue logs the waiting samples faster than any arm measures them.
_TOGETHER_NS = 300_000


@dataclass(frozen=True)
class SampleTimes:
    """Strictly rising times of N samples, K of which are kept."""

    times_ns: Times
    """Times of the kept samples. Shape (K,)."""
    kept: NDArray[np.int64]
    """Indices of the kept samples. Shape (K,)."""
    stamped: bool
    """Whether the times are the publisher's stamps."""


def sample_times(
    stamps_ns: Sequence[int] | Times, log_times_ns: Sequence[int] | Times
) -> SampleTimes:
    """The stamps of a stream if they rise, else its log times.

    A recorder may log samples in bursts, long after they were measured. Of samples that were logged
    together only the last counts: its log time is the nearest to the time of its measurement.

    Args:
        stamps_ns: time of each measurement; 0 if the publisher gives none. Shape (N,).
        log_times_ns: time at which each sample was logged. Shape (N,).
    """
    stamps = np.asarray(stamps_ns, np.int64)
    if stamps.min() > 0 and np.all(np.diff(stamps) >= 0) and stamps[-1] > stamps[0]:
        kept = np.flatnonzero(np.diff(stamps, prepend=-1) > 0)
        return SampleTimes(stamps[kept], kept, True)
    log = np.maximum.accumulate(np.asarray(log_times_ns, np.int64))
    kept = np.flatnonzero(np.append(np.diff(log) > _TOGETHER_NS, True))
    return SampleTimes(log[kept], kept, False)
