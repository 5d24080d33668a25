"""Robots ask a real server, each in its own time."""

from __future__ import annotations

import asyncio

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

from pipeline.benchmark.server_latency_client import RoundTrips, drive
from pipeline.serving.protocol import decode, encode


def test_a_summary_is_of_all_clients() -> None:
    found = RoundTrips(2, 30.0, [1.0, 3.0], [50.0, 70.0], errors=0, late=1, server_cpu_s=0.4)
    row = found.summary()
    assert (row["median_ms"], row["max_ms"], row["first_ms"], row["late"]) == (2.0, 3.0, 70.0, 1)
    assert row["server_cpu_ms"] == 100.0, "of all four calls"


def test_every_robot_says_what_it_sees_and_counts_errors() -> None:
    heard: list[object] = []
    where: list[float] = []

    async def answer(connection: ServerConnection) -> None:
        await connection.send(encode({"hello": {}}))
        async for frame in connection:
            message = decode(frame)
            assert message["observation"]["joint_pos"].shape == (6,)
            heard.append(message["call"])
            where.append(float(message["observation"]["joint_pos"][0]))
            bad = len(heard) == 3
            there = {"joint_pos": np.full(6, where[-1] + 1)}
            await connection.send(encode({"error": "no"} if bad else there))

    async def live() -> RoundTrips:
        found = RoundTrips(3, 200.0)
        async with serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            message = {"call": "act", "observation": {"joint_pos": [0.0] * 6}}
            await drive(f"ws://127.0.0.1:{port}", message, 4, found)
        return found

    found = asyncio.run(live())
    assert heard == ["act"] * 12
    # Each robot is where it was told to be; the one that got an error stays.
    assert (min(where), max(where)) == (0, 3)
    assert (len(found.first_ms), len(found.ms), found.errors) == (3, 9, 1)
    assert min(found.ms) > 0
