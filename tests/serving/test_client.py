"""The client's own errors; its calls are tried in test_server.py."""

from __future__ import annotations

import socket
import threading

import pytest
from websockets.sync.server import serve

from pipeline.serving.client import ClientError, PolicyClient
from pipeline.serving.protocol import encode


def test_nobody_there_is_an_error_that_names_the_place() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClientError, match=f"{url}: no policy server answers there"):
        PolicyClient(url, timeout_s=2)


def test_another_program_s_server_is_no_policy_server() -> None:
    with serve(lambda wire: wire.send(encode({"good": "day"})), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        with pytest.raises(ClientError, match="no policy server answers"):
            PolicyClient(f"ws://127.0.0.1:{port}", timeout_s=5)
        server.shutdown()
        thread.join()
