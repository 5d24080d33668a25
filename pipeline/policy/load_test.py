"""A served policy under load: round trips of many clients beside direct calls.

Each client is a robot that asks once a control period; what is measured is how long it waits.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from pipeline.policy.runtime import RobotPolicy
from pipeline.policy.server import PolicyServer
from pipeline.policy.wire import decode, encode

Float64 = NDArray[np.float64]


@dataclass
class RoundTrips:
    """What clients waited for."""

    clients: int
    rate_hz: float
    ms: list[float] = field(default_factory=list)
    """One number a call, of all clients."""
    errors: int = 0
    late: int = 0
    """Calls whose answer came after the next call was due."""

    def summary(self) -> dict[str, Any]:
        """JSON numbers."""
        median, high = np.percentile(self.ms, (50, 99))
        return {
            "clients": self.clients,
            "rate_hz": self.rate_hz,
            "calls": len(self.ms),
            "median_ms": round(float(median), 3),
            "p99_ms": round(float(high), 3),
            "max_ms": round(max(self.ms), 3),
            "errors": self.errors,
            "late": self.late,
        }


def direct_calls(policy: RobotPolicy, observation: dict[str, Float64], calls: int) -> list[float]:
    """What `act` takes without a server, ms.

    Args:
        policy: loaded.
        observation: of every call.
        calls: how many.
    """
    session, times = policy.session(), []
    for _ in range(calls):
        started = time.perf_counter()
        session.act(observation)
        times.append(1e3 * (time.perf_counter() - started))
    return times


def under_load(
    policy: RobotPolicy,
    observation: dict[str, Float64],
    clients: int,
    calls: int,
    rate_hz: float,
) -> RoundTrips:
    """Serve on loopback and let clients call `act` at a rate, all in this process.

    Args:
        policy: loaded.
        observation: of every call.
        clients: how many robots.
        calls: of each.
        rate_hz: of each robot.
    """
    found = RoundTrips(clients, rate_hz)
    asyncio.run(_drive(PolicyServer(policy), encode_act(observation), calls, found))
    return found


def encode_act(observation: dict[str, Float64]) -> bytes:
    """A call of `act` as it goes over the wire."""
    return encode({"call": "act", "observation": observation})


async def _drive(server: PolicyServer, frame: bytes, calls: int, found: RoundTrips) -> None:
    async with await server.start("127.0.0.1", 0) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        period = 1 / found.rate_hz
        loop = asyncio.get_running_loop()
        begin = loop.time() + 0.02 * found.clients
        # Robots are not in step with each other.
        offsets = np.arange(found.clients) * period / found.clients
        await asyncio.gather(
            *(_robot(url, frame, calls, begin + float(offset), found) for offset in offsets)
        )


async def _robot(url: str, frame: bytes, calls: int, begin: float, found: RoundTrips) -> None:
    loop, period = asyncio.get_running_loop(), 1 / found.rate_hz
    async with connect(url, compression=None, open_timeout=60) as wire:
        await wire.recv()
        for index in range(calls):
            due = begin + index * period
            await asyncio.sleep(max(due - loop.time(), 0.0))
            started = time.perf_counter()
            await wire.send(frame)
            answer = decode(await wire.recv())
            found.ms.append(1e3 * (time.perf_counter() - started))
            found.errors += "error" in answer
            found.late += loop.time() > due + period
