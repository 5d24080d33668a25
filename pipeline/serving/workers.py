"""Serves from several processes that share one port: one Python process computes on one core only.

The kernel gives each new connection to one of the processes (SO_REUSEPORT), where it stays.
"""

from __future__ import annotations

import multiprocessing
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from pipeline.errors import PipelineError
from pipeline.processes import WorkerError

Work = Callable[[int, Callable[[str], None]], None]
"""Serves on a port until it is stopped; calls the function once it listens."""


@contextmanager
def shared_port(host: str, port: int) -> Iterator[int]:
    """Reserve a port that several processes can listen on, and yield its number.

    Args:
        host: address.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken, or this system cannot share one.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise OSError("this system cannot share a port (SO_REUSEPORT)")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as alone:
        # Another server that shares its port would otherwise get some of our clients.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((host, port))
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
        yield held.getsockname()[1]


class Workers:
    """Processes that serve the same port."""

    def __init__(self, number: int, port: int, work: Work) -> None:
        """Start the processes and wait until each listens.

        Args:
            number: of processes.
            port: see `shared_port`.
            work: picklable; runs in each process.

        Raises:
            PipelineError: what `work` raised.
            WorkerError: a process ended.
        """
        context = multiprocessing.get_context("spawn")
        self._running: dict[Connection, BaseProcess] = {}
        for _ in range(number):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_run, args=(theirs, port, work), daemon=True)
            process.start()
            theirs.close()
            self._running[ours] = process
        try:
            self.ready = [self._receive(connection) for connection in self._running]
            """What each process said when it listened."""
        except BaseException:
            self.stop()
            raise

    @property
    def pids(self) -> list[int]:
        """Process IDs."""
        return [process.pid for process in self._running.values() if process.pid is not None]

    def wait(self) -> None:
        """Wait until the processes have ended, after `terminate` or by themselves.

        Raises:
            WorkerError: a process ended by itself; the others are stopped.
        """
        first = self._running[cast(Connection, wait(list(self._running))[0])]
        first.join()
        self.stop()
        if first.exitcode:
            raise WorkerError(
                f"a serving process ended with exit code {first.exitcode}; a negative code is a "
                "signal (-9: killed, often because memory ran out): try fewer --workers"
            )

    def terminate(self) -> None:
        """Ask all processes to end."""
        for process in self._running.values():
            process.terminate()

    def stop(self) -> None:
        """End all processes that still run."""
        self.terminate()
        for connection, process in self._running.items():
            process.join()
            connection.close()

    def _receive(self, connection: Connection) -> str:
        try:
            said: Any = connection.recv()
        except EOFError:
            self._running[connection].join()
            code = self._running[connection].exitcode
            raise WorkerError(
                f"a serving process ended with exit code {code} before it listened"
            ) from None
        if isinstance(said, PipelineError):
            raise said
        return str(said)


def _run(connection: Connection, port: int, work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and stops this process
    try:
        work(port, connection.send)
    except PipelineError as error:
        connection.send(error)
