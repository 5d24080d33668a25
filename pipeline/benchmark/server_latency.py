"""Measures the latency of a policy server under load, and of direct calls.

Each client acts as a robot that sends one call per control period; its waiting time is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.benchmark.server_latency_client import RoundTrips
from pipeline.errors import PipelineError
from pipeline.runtime.session import RobotPolicy
from pipeline.serving.server import PolicyServer

Float64 = NDArray[np.float64]


class LoadTestError(PipelineError):
    """The clients' process could not be started, or failed."""


def direct_calls(policy: RobotPolicy, observation: dict[str, Float64], calls: int) -> list[float]:
    """Time calls of `act` without a server.

    Args:
        policy: the loaded policy.
        observation: observation for every call.
        calls: number of calls.

    Returns:
        Time of each call, ms.
    """
    session, times = policy.session(), []
    for _ in range(calls):
        started = time.perf_counter()
        session.act(observation)
        times.append(1e3 * (time.perf_counter() - started))
    return times


def under_load(
    policy: RobotPolicy,
    message: dict[str, Any],
    clients: int,
    calls: int,
    rate_hz: float,
) -> RoundTrips:
    """Serve on loopback while clients in another process call at a fixed rate.

    Args:
        policy: the loaded policy.
        message: the call as JSON values; see `server_latency_client`.
        clients: number of robots.
        calls: calls per robot.
        rate_hz: calls per second of each robot.

    Raises:
        LoadTestError: the clients' process failed.
    """
    arguments = [str(clients), str(calls), str(rate_hz)]
    call = json.dumps(message).encode()
    return RoundTrips(**asyncio.run(_drive(PolicyServer(policy), arguments, call)))


async def _drive(server: PolicyServer, arguments: list[str], message: bytes) -> dict[str, Any]:
    async with await server.start("127.0.0.1", 0) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        robots = await asyncio.create_subprocess_exec(
            sys.executable,
            *(
                "-m",
                "pipeline.benchmark.server_latency_client",
                f"ws://127.0.0.1:{port}",
                *arguments,
            ),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, errors = await robots.communicate(message)
    if robots.returncode:
        raise LoadTestError(f"the clients' process failed: {errors.decode().strip()}")
    found: dict[str, Any] = json.loads(out)
    return found
