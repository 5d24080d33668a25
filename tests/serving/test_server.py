"""A real server on loopback: many clients, and clients that behave badly."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from pipeline.machine import available_cores
from pipeline.obstacles import ObstacleError, sphere
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.policy.observation import obstacle_slots
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.load import load_policy
from pipeline.runtime.session import Given, RobotPolicy, Session
from pipeline.serving.client import ClientError, PolicyClient
from pipeline.serving.protocol import decode, encode
from pipeline.serving.server import MAX_MESSAGE_BYTES, PolicyServer
from pipeline.serving.workers import shared_port
from tests.conftest import HANG_S
from tests.fixtures.policy import SLOTS
from tests.fixtures.serving import OBSERVATION, served


@pytest.fixture(scope="module")
def url(policy: RobotPolicy) -> Iterator[str]:
    """A server of its own thread; every test leaves it in a state that the next can use."""
    with served(policy) as address:
        yield address


def test_a_client_gets_what_a_direct_call_gives(url: str, policy: RobotPolicy) -> None:
    direct = policy.session(seed=5)
    with PolicyClient(url) as client:
        assert client.layout == policy.layout
        assert client.rate_hz == 30.0
        assert client.deployment is not None
        assert client.deployment.to_json() == policy.deployment.to_json()
        client.reset(seed=5)
        for _ in range(9):
            np.testing.assert_array_equal(client.act(OBSERVATION), direct.act(OBSERVATION))
        assert client.server_ms > 0
        obs = np.tile(direct.history(), (3, 1, 1))
        np.testing.assert_array_equal(client.predict(obs, seed=2), policy.predict(obs, seed=2))
        np.testing.assert_array_equal(client.predict(obs), policy.predict(obs))
    with connect(url) as wire:  # a client that names no seed
        wire.recv()
        wire.send(encode({"call": "predict", "obs": obs}))
        np.testing.assert_array_equal(decode(wire.recv())["chunk"], policy.predict(obs))


def test_a_robot_may_act_itself_and_ask_for_chunks_alone(url: str, policy: RobotPolicy) -> None:
    direct = policy.session(seed=5)
    with PolicyClient(url) as client:
        robot, asked = client.closed_loop(seed=5), 0
        for _ in range(13):
            client.server_ms = 0.0
            np.testing.assert_array_equal(robot.act(OBSERVATION), direct.act(OBSERVATION))
            asked += client.server_ms > 0
        assert asked == -(-13 // policy.deployment.execution.execute_steps)
        assert client.closed_loop(control_hz=60.0).control_hz == 60.0


def test_obstacles_reach_the_server_s_policy_and_that_of_the_robot(
    params: Params, seeing: tuple[Checkpoint, Path]
) -> None:
    deployment = Deployment.from_params(
        params.execution, RobotModel.from_params(params.robot).limits
    )
    policy = load_policy(seeing[1], "onnxruntime", deployment=deployment)
    ball = {"centre_m": [0.45, 0.1, 0.4], "radius_m": 0.1}
    among = {**OBSERVATION, "obstacles": [ball]}
    direct = policy.session()
    with served(policy) as place, PolicyClient(place, timeout_s=HANG_S) as client:
        assert obstacle_slots(client.config) == SLOTS
        assert client.config["collision"] == policy.backend.config["collision"] is not None
        robot = client.closed_loop()
        for seen in [OBSERVATION] * 2 + [among] * 5:
            expected = direct.act(seen)
            np.testing.assert_array_equal(client.act(seen), expected)
            np.testing.assert_array_equal(robot.act(seen), expected)
        assert client.finding == direct.finding
        states = np.tile(direct.history()[:, :25], (2, 1, 1))
        for obstacles in ([ball], None, [[sphere(**ball)]] * 2):
            np.testing.assert_array_equal(
                client.predict(states, obstacles=obstacles),
                policy.predict(states, obstacles=obstacles),
            )
        with pytest.raises(ObstacleError, match="centre_m"):
            client.act({**OBSERVATION, "obstacles": [{"radius_m": 0.1}]})
        with pytest.raises(ClientError, match=f"5 obstacles; expected {SLOTS} at most"):
            client.act({**OBSERVATION, "obstacles": [ball] * 5})
        # Clients of other languages send lists and maps.
        with connect(place) as wire:
            decode(wire.recv())
            plain = {key: np.asarray(value).tolist() for key, value in OBSERVATION.items()}
            wire.send(msgpack.packb({"call": "act", "observation": {**plain, "obstacles": [ball]}}))
            found = decode(wire.recv())["joint_pos"]
        np.testing.assert_array_equal(found, policy.session().act(among))


def test_a_hundred_clients_have_each_their_own_history(url: str, policy: RobotPolicy) -> None:
    def drive(number: int, client: PolicyClient) -> bool:
        seen = {**OBSERVATION, "joint_pos": OBSERVATION["joint_pos"] + 0.001 * number}
        session = policy.session(seed=number)
        client.reset(seed=number)
        return all(np.array_equal(client.act(seen), session.act(seen)) for _ in range(8))

    # They connect one after the other: a server gives each only some seconds for that.
    with ExitStack() as stack, ThreadPoolExecutor(100) as pool:
        clients = [stack.enter_context(PolicyClient(url, timeout_s=HANG_S)) for _ in range(100)]
        assert all(pool.map(drive, range(100), clients))


def test_motions_that_are_computed_ahead_keep_nobody_waiting(
    policy: RobotPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, ahead = threading.Event(), available_cores() + 1
    act = Session.act

    def slow(session: Session, observation: Given) -> object:
        if session.may_rehearse:
            assert go_on.wait(HANG_S)
        return act(session, observation)

    monkeypatch.setattr(Session, "may_rehearse", property(lambda session: session._chosen == 99))
    monkeypatch.setattr(Session, "act", slow)
    with ExitStack() as stack, ThreadPoolExecutor(ahead) as pool:
        url = stack.enter_context(served(policy))
        *resting, moving = (
            stack.enter_context(PolicyClient(url, timeout_s=HANG_S)) for _ in range(ahead + 1)
        )
        for client in resting:
            client.reset(seed=99)
        waiting = [pool.submit(client.act, OBSERVATION) for client in resting]
        moving.reset(seed=1)
        assert moving.act(OBSERVATION).shape == (6,)
        assert not any(each.done() for each in waiting)
        go_on.set()
        assert all(each.result().shape == (6,) for each in waiting)


@pytest.mark.parametrize("quick_s", [0.0, float("inf")])
def test_a_slow_network_computes_in_a_thread_and_a_quick_one_at_once(
    policy: RobotPolicy, monkeypatch: pytest.MonkeyPatch, quick_s: float
) -> None:
    seen: list[tuple[bool, int]] = []
    act = Session.act

    def watched(session: Session, observation: Given) -> object:
        seen.append((session.steps_left == 0, threading.get_ident()))
        return act(session, observation)

    monkeypatch.setattr(Session, "act", watched)
    monkeypatch.setattr(Session, "may_rehearse", False)
    monkeypatch.setattr("pipeline.serving.server.QUICK_S", quick_s)
    with served(policy) as url, PolicyClient(url, timeout_s=HANG_S) as client:
        for _ in range(7):
            client.act(OBSERVATION)
    assert [chunk for chunk, _ in seen] == [True, *[False] * 5, True]
    loop = seen[1][1]
    assert {thread == loop for chunk, thread in seen if chunk} == {quick_s > 0}
    assert {thread for chunk, thread in seen if not chunk} == {loop}


def test_a_server_greets_with_what_it_runs_and_says_how_long_it_took(url: str) -> None:
    with connect(url) as wire:
        assert wire.protocol.extensions == []  # chunks are sent as they are
        assert decode(wire.recv())["hello"]["backend"] == "onnxruntime"
        sent = time.perf_counter()
        wire.send(encode({"call": "act", "observation": OBSERVATION}))
        server_ms = decode(wire.recv())["server_ms"]
        assert 0 < server_ms <= 1e3 * (time.perf_counter() - sent)


def test_it_listens_at_the_given_port_alone_or_with_others(policy: RobotPolicy) -> None:
    async def listen() -> None:
        server = PolicyServer(policy)
        with shared_port("127.0.0.1", 0) as port:
            async with await server.start("127.0.0.1", port, shared=True) as first:
                async with await server.start("127.0.0.1", port, shared=True) as second:
                    places = [each.sockets[0].getsockname() for each in (first, second)]
                    assert places == [("127.0.0.1", port)] * 2
                with pytest.raises(OSError, match="in use"):
                    await server.start("127.0.0.1", port)

    asyncio.run(listen())


def test_an_answer_carries_the_id_of_its_call(url: str) -> None:
    with connect(url) as wire:
        decode(wire.recv())
        for call in ({"call": "reset", "id": 7}, {"call": "jump", "id": "x"}):
            wire.send(encode(call))
            assert decode(wire.recv())["id"] == call["id"]
        wire.send(encode({"call": "reset"}))  # other clients need not number their calls
        assert "id" not in decode(wire.recv())


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\xc1 no msgpack", "not msgpack"),
        ("a text frame", "text frame"),
        (msgpack.packb([1]), "expected a map"),
        (encode({"call": "jump"}), "call is 'jump', expected act, predict, reset"),
        (encode({"call": "act"}), "the observation lacks joint_pos"),
        (encode({"call": "act", "state": 1}), "act does not take state"),
        (encode({"call": "act", "observation": np.zeros(7)}), r"shape (7,), expected (25,)"),
        (encode({"call": "act", "observation": {"joint_pos": "zero"}}), "act: could not convert"),
        (
            encode({"call": "act", "observation": {**OBSERVATION, "pen_pos": np.full(3, np.nan)}}),
            "not finite in pen_pos",
        ),
        (encode({"call": "predict"}), "predict needs obs"),
        (encode({"call": "predict", "obs": np.zeros((2, 7))}), "shape (2, 7)"),
        (encode({"call": "predict", "obs": np.zeros((999, 2, 25))}), "expected 256 at most"),
        (encode({"call": "reset", "seed": "x"}), "reset:"),
    ],
)
def test_what_is_wrong_comes_back_to_its_sender_and_the_session_goes_on(
    url: str, message: bytes | str, words: str
) -> None:
    with connect(url) as wire:
        decode(wire.recv())
        wire.send(message)
        assert words in decode(wire.recv())["error"]
        wire.send(encode({"call": "act", "observation": OBSERVATION}))
        assert decode(wire.recv())["joint_pos"].shape == (6,)


def test_clients_that_vanish_flood_or_send_too_much_harm_nobody_else(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline.serving.server")
    with PolicyClient(url, timeout_s=HANG_S) as steady:
        steady.act(OBSERVATION)
        # Gone in the middle of a frame: a header that promises 100 bytes, ten of them, the end.
        host, port = url.removeprefix("ws://").split(":")
        with connect(url) as half:
            half.recv()
            half.socket.sendall(b"\x82\xfe\x00\x64" + b"mask" + b"0123456789")
            half.socket.shutdown(socket.SHUT_RDWR)
        # Nothing of the protocol at all.
        with socket.create_connection((host, int(port))) as other:
            other.sendall(b"\0" * 4096)
        with connect(url, max_size=None) as greedy:
            greedy.recv()
            greedy.send(b"\0" * (MAX_MESSAGE_BYTES + 1))
            with pytest.raises(ConnectionClosed, match="1009"):
                greedy.recv()
        with connect(url, close_timeout=0) as flood:  # it leaves without the answers
            flood.recv()
            for _ in range(300):
                flood.send(encode({"call": "act", "observation": OBSERVATION}))
            for _ in range(20):
                steady.act(OBSERVATION)
        assert steady.act(OBSERVATION).shape == (6,)
    deadline = time.monotonic() + HANG_S
    while "a client left: no close frame received" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
