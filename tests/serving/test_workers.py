"""Processes that share a port; their work here is to accept connections."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from pipeline.errors import PipelineError
from pipeline.processes import WorkerError
from pipeline.serving.workers import Workers, shared_port


def accept(port: int, say: Callable[[str], None]) -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        say(str(os.getpid()))
        while True:
            with listening.accept()[0] as connection:
                connection.sendall(str(os.getpid()).encode())


def refuse(port: int, say: Callable[[str], None]) -> None:
    raise PipelineError("there is no policy")


def crash(port: int, say: Callable[[str], None]) -> None:
    os._exit(9)


def crash_later(port: int, say: Callable[[str], None]) -> None:
    say("ready")
    time.sleep(0.1)
    os._exit(9)


def test_connections_go_to_several_processes_until_they_are_stopped() -> None:
    with shared_port("127.0.0.1", 0) as port:
        workers = Workers(2, port, accept)
        assert len(set(workers.ready)) == 2
        met = set()
        while len(met) < 2:  # the kernel chooses by the client's port
            with socket.create_connection(("127.0.0.1", port)) as client:
                met.add(client.recv(20).decode())
        assert met == set(workers.ready)
        workers.stop()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port))


def test_what_a_process_raises_is_raised_here_and_a_dead_one_is_told() -> None:
    with pytest.raises(PipelineError, match="there is no policy"):
        Workers(2, 1, refuse)
    with pytest.raises(WorkerError, match="exit code 9 before it listened"):
        Workers(1, 1, crash)
    with pytest.raises(WorkerError, match=r"exit code 9; .*fewer --workers"):
        Workers(2, 1, crash_later).wait()


def test_a_port_that_another_server_shares_is_taken() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"), shared_port(*other.getsockname()):
            pass
