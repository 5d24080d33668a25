"""The client's own errors; its calls are tried in test_server.py."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment
from pipeline.serving.client import ClientError, PolicyClient
from pipeline.serving.protocol import decode, encode
from tests.conftest import HANG_S


@pytest.fixture(scope="module")
def hello(params: Params) -> dict[str, Any]:
    limits = RobotModel.from_params(params.robot).limits
    return {
        "layout": Layout.from_params(params).to_dict(),
        "rate_hz": 30.0,
        "horizon": 16,
        "n_obs_steps": 2,
        "deployment": Deployment.from_params(params.execution, limits).to_json(),
    }


@contextmanager
def server(handle: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The address of a server that treats each connection with `handle`."""
    with serve(handle, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}"
        finally:
            running.shutdown()
            thread.join()


def test_calls_are_numbered_and_answers_may_be_long(hello: dict[str, Any]) -> None:
    numbers, long = [], np.arange(200_000.0)  # longer than what websockets takes by itself

    def handle(connection: ServerConnection) -> None:
        assert connection.protocol.extensions == []  # compression would only cost time
        connection.send(encode({"hello": hello | {"rate_hz": None}}))
        for frame in connection:
            numbers.append(decode(frame)["id"])
            answer = {"id": numbers[-1], "joint_pos": long, "server_ms": 2.5}
            connection.send(encode(answer))

    with server(handle) as url, PolicyClient(url, timeout_s=HANG_S) as client:
        assert (client.rate_hz, client.server_ms) == (None, 0.0)
        for _ in range(2):
            np.testing.assert_array_equal(client.act(np.zeros(6)), long)
        assert client.server_ms == 2.5
    assert numbers == [1, 2]


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("127.0.0.1", "x", False), ("0.0.0.0", None, False), ("0.0.0.0", "x", True)],
)
def test_a_token_in_clear_beyond_this_machine_is_warned_of(
    hello: dict[str, Any], host: str, token: str | None, warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with server(lambda connection: connection.send(encode({"hello": hello}))) as url:
        address = url.replace("127.0.0.1", host)
        PolicyClient(address, token, HANG_S).close()
    assert (f"{address}: the token passes unencrypted" in caplog.text) == warned


def test_nobody_there_is_an_error_that_names_the_place() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # taken by this test, but nobody listens
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClientError, match=f"{url}: no policy server answers .*refused"):
            PolicyClient(url)


@pytest.mark.parametrize(
    "greeting",
    [
        encode({"good": "day"}),
        encode({"hello": "world"}),
        encode({"hello": {"layout": {}}}),
        "a text frame",
        b"\xc1 no msgpack",
    ],
)
def test_another_program_s_server_is_no_policy_server(greeting: bytes | str) -> None:
    with (
        server(lambda connection: connection.send(greeting)) as url,
        pytest.raises(ClientError, match="no policy server answers"),
    ):
        PolicyClient(url, timeout_s=HANG_S)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8765", "ws:/127.0.0.1", "robot"])
def test_an_address_that_is_none_is_a_client_error(url: str) -> None:
    with pytest.raises(ClientError, match="no policy server answers"):
        PolicyClient(url, timeout_s=2)


def test_a_server_that_does_not_speak_http_is_a_client_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ClientError, match="no policy server answers"):
            PolicyClient(f"ws://127.0.0.1:{listening.getsockname()[1]}", timeout_s=HANG_S)
        thread.join()


def test_after_a_time_out_no_late_answer_is_taken_for_another_call(hello: dict[str, Any]) -> None:
    timed_out = threading.Event()

    def handle(connection: ServerConnection) -> None:
        connection.send(encode({"hello": hello}))
        for frame in connection:
            call = decode(frame)
            timed_out.wait(HANG_S)  # the first answer is late, however fast the machine is
            connection.send(
                encode({"id": call.get("id"), "joint_pos": call["observation"], "server_ms": 0.0})
            )

    with server(handle) as url, PolicyClient(url, timeout_s=HANG_S) as client:
        client._timeout_s = 0.2  # for the answers; a busy machine may take longer to connect
        with pytest.raises(ClientError, match=r"no answer within 0\.2 s.*connect again"):
            client.act(np.full(3, 1.0))
        timed_out.set()
        for asked in (2.0, 3.0):
            with pytest.raises(ClientError, match=r"connection is closed.*connect again"):
                client.act(np.full(3, asked))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"id": 0, "joint_pos": np.zeros(6), "server_ms": 0.0}, "answer to call 0, expected 1"),
        ({"joint_pos": np.zeros(6), "server_ms": 0.0}, "answer to call None, expected 1"),
        ({"id": 0, "error": "late"}, "answer to call 0, expected 1"),
        ({"id": 1, "joint_pos": np.zeros(6)}, "lacks 'server_ms'"),
        ({"id": 1, "server_ms": 0.0}, "lacks 'joint_pos'"),
        (b"\xc1", "not msgpack"),
    ],
)
def test_an_answer_that_does_not_belong_to_the_call_is_refused(
    hello: dict[str, Any], answer: dict[str, Any] | bytes, words: str
) -> None:
    def handle(connection: ServerConnection) -> None:
        connection.send(encode({"hello": hello}))
        connection.recv()
        connection.send(answer if isinstance(answer, bytes) else encode(answer))

    with server(handle) as url, PolicyClient(url, timeout_s=HANG_S) as client:
        with pytest.raises(ClientError, match=words):
            client.act(np.zeros(6))
        with pytest.raises(ClientError, match="connection is closed"):
            client.act(np.zeros(6))
