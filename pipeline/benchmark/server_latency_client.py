"""Runs the clients of a load test: robots that call a server once per control period.

    python -m pipeline.benchmark.server_latency_client URL CLIENTS CALLS RATE_HZ < MESSAGE

The message is JSON, for instance {"call": "act", "observation": {"joint_pos": […], …}}. A robot
that calls `act` is where it was last told to be, as a real one that follows. The waiting times are
written as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from pipeline.serving.protocol import decode, encode


@dataclass
class RoundTrips:
    """Waiting times of all clients."""

    clients: int
    rate_hz: float
    ms: list[float] = field(default_factory=list)
    """Waiting time of each call of all clients, ms; the first calls, at rest, are not in it."""
    first_ms: list[float] = field(default_factory=list)
    """Waiting time of each client's first call, which may compute whole motions ahead, ms."""
    errors: int = 0
    late: int = 0
    """Number of these whose answer came after the next call was due."""
    client_cpu_s: float = 0.0
    """CPU time of the clients' process during the calls, s."""
    server_cpu_s: float = 0.0
    """CPU time of the server's processes during the calls, s."""

    def summary(self) -> dict[str, Any]:
        """Summarise the waiting times as JSON numbers."""
        median, high = np.percentile(self.ms, (50, 99))
        calls = len(self.ms) + len(self.first_ms)
        return {
            "clients": self.clients,
            "rate_hz": self.rate_hz,
            "calls": len(self.ms),
            "median_ms": round(float(median), 3),
            "p99_ms": round(float(high), 3),
            "max_ms": round(max(self.ms), 3),
            "first_ms": round(max(self.first_ms), 3),
            "errors": self.errors,
            "late": self.late,
            "client_cpu_ms": round(1e3 * self.client_cpu_s / calls, 3),
            "server_cpu_ms": round(1e3 * self.server_cpu_s / calls, 3),
        }


def _arrays(value: Any) -> Any:
    """Turn the lists of a message into arrays."""
    if isinstance(value, Mapping):
        return {key: _arrays(part) for key, part in value.items()}
    return np.array(value) if isinstance(value, list) else value


async def drive(url: str, message: Mapping[str, Any], calls: int, found: RoundTrips) -> None:
    """Run all robots at once.

    Args:
        url: address of the server.
        message: the call and its arguments; lists become arrays.
        calls: calls per robot.
        found: receives the waiting times.
    """
    period = 1 / found.rate_hz
    begin = asyncio.get_running_loop().time() + 0.02 * found.clients
    # The robots' calls are spread evenly over the period.
    offsets = np.arange(found.clients) * period / found.clients
    await asyncio.gather(
        *(_robot(url, _arrays(message), calls, begin + float(offset), found) for offset in offsets)
    )


async def _robot(
    url: str, message: dict[str, Any], calls: int, begin: float, found: RoundTrips
) -> None:
    loop, period = asyncio.get_running_loop(), 1 / found.rate_hz
    async with connect(url, compression=None, open_timeout=60) as wire:
        await wire.recv()
        for index in range(calls):
            due = begin + index * period
            await asyncio.sleep(max(due - loop.time(), 0.0))
            started = time.perf_counter()
            await wire.send(encode(message))
            answer = decode(await wire.recv())
            waited = found.ms if index else found.first_ms
            waited.append(1e3 * (time.perf_counter() - started))
            found.errors += "error" in answer
            found.late += index > 0 and loop.time() > due + period
            if "joint_pos" in answer:
                message["observation"]["joint_pos"] = answer["joint_pos"]


def main(arguments: list[str]) -> None:
    """Run the command line."""
    url, clients, calls, rate_hz = arguments
    message = json.load(sys.stdin)
    found = RoundTrips(int(clients), float(rate_hz))
    started = time.process_time()
    asyncio.run(drive(url, message, int(calls), found))
    found.client_cpu_s = time.process_time() - started
    json.dump(asdict(found), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
