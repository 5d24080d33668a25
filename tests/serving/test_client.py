"""The client's own errors; its calls are tried in test_server.py."""

from __future__ import annotations

import socket
import threading

import pytest
from websockets.sync.server import serve

from pipeline.serving.client import ClientError, PolicyClient
from pipeline.serving.protocol import encode
from tests.conftest import HANG_S


def test_nobody_there_is_an_error_that_names_the_place() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # taken by this test, but nobody listens
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClientError, match=f"{url}: no policy server answers .*refused"):
            PolicyClient(url)


def test_another_program_s_server_is_no_policy_server() -> None:
    with serve(lambda wire: wire.send(encode({"good": "day"})), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        with pytest.raises(ClientError, match="no policy server answers there: 'hello'"):
            PolicyClient(f"ws://127.0.0.1:{port}", timeout_s=HANG_S)
        server.shutdown()
        thread.join()
