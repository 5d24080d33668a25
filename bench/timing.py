"""Time several functions in turn, so that other load on the machine affects all of them equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Step = Callable[[], object]


def repeated(step: Step, times: int, wait: Step) -> Step:
    """Several calls as one, and what they leave to a device.

    Args:
        step: a function.
        times: number of calls.
        wait: returns when the device has done everything.
    """

    def run() -> None:
        for _ in range(times):
            step()
        wait()

    return run


def interleaved(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Time each step once per round, s; the first round warms up and does not count.

    Args:
        steps: functions by name.
        rounds: number of rounds that count.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if index:
                times[name].append(time.perf_counter() - started)
    return times
