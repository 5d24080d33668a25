"""Times of several ways to do something, taken in turn, so that a busy moment meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Step = Callable[[], object]


def interleaved(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, one after the other in every round, the first round left out.

    Args:
        steps: by name.
        rounds: that count.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if index:
                times[name].append(time.perf_counter() - started)
    return times
