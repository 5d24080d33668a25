"""Measures the latency of a policy server under load, and of direct calls.

Each client acts as a robot that sends one call per control period; its waiting time is measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.benchmark.server_latency_client import RoundTrips
from pipeline.errors import PipelineError
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.load import load_policy
from pipeline.runtime.session import RobotPolicy
from pipeline.serving.server import PolicyServer
from pipeline.serving.workers import Workers, shared_port

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


@dataclass(frozen=True)
class Load:
    """What the robots of a load test do."""

    message: dict[str, Any]
    """The call as JSON values; see `server_latency_client`."""
    clients: int
    """Number of robots."""
    calls: int
    """Calls per robot."""
    rate_hz: float
    """Calls per second of each robot."""


def under_load(model: Path, deployment: Deployment, load: Load, workers: int = 1) -> RoundTrips:
    """Serve on loopback in processes of their own, while clients in another one call.

    Args:
        model: policy.onnx, or a folder of stage export.
        deployment: execution settings and limits.
        load: what the clients do.
        workers: processes that serve.

    Raises:
        LoadTestError: the clients' process failed.
        PipelineError: the policy cannot be loaded.
    """
    with shared_port("127.0.0.1", 0) as port:
        servers = Workers(workers, port, partial(_serve, model, deployment))
        try:
            before = sum(map(_cpu_s, servers.pids))
            found = _drive(port, load)
            found.server_cpu_s = sum(map(_cpu_s, servers.pids)) - before
        finally:
            servers.stop()
    return found


def _serve(model: Path, deployment: Deployment, port: int, say: Callable[[str], None]) -> None:
    server = PolicyServer(load_policy(model, "onnxruntime", deployment=deployment))

    async def serve() -> None:
        async with await server.start("127.0.0.1", port, shared=True) as listening:
            say("ready")
            await listening.serve_forever()

    asyncio.run(serve())


def _drive(port: int, load: Load) -> RoundTrips:
    numbers = [str(load.clients), str(load.calls), str(load.rate_hz)]
    client = "pipeline.benchmark.server_latency_client"
    robots = subprocess.run(
        [sys.executable, "-m", client, f"ws://127.0.0.1:{port}", *numbers],
        input=json.dumps(load.message), capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    if robots.returncode:
        raise LoadTestError(f"the clients' process failed: {robots.stderr.strip()}")
    return RoundTrips(**json.loads(robots.stdout))


def _cpu_s(pid: int) -> float:
    """CPU time of a running process, s (Linux); see clock_getcpuclockid(3)."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise LoadTestError(f"process {pid}: no CPU time to read: {os.strerror(error)}")
    return time.clock_gettime(clock.value)
