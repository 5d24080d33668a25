"""A server that dies after a number of bytes, independent of the machine's speed."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from .servers import Server


@dataclass
class Relay:
    """Forwards bytes between clients and a server, and kills the server after a number of them."""

    server: Server
    left: int
    """Bytes until the server is killed, of both directions together."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, listener: socket.socket) -> None:
        """Serve each client in a thread until the listener is shut down."""
        threads = []
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threads.append(threading.Thread(target=self.serve, args=(client,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def serve(self, client: socket.socket) -> None:
        """Forward bytes between a client and the server until one of them disconnects."""
        with client, suppress(OSError), socket.create_connection(self.server.address) as server:
            others = {client: server, server: client}
            while True:
                for source in select.select([*others], [], [])[0]:
                    data = source.recv(65_536)
                    if not data or not self.passes(len(data)):
                        return
                    others[source].sendall(data)

    def passes(self, number: int) -> bool:
        """Count bytes, kill the server when there are too many, and tell whether they may pass."""
        with self.lock:
            if self.left >= 0:
                self.left -= number
                if self.left < 0:
                    self.server.kill()
            return self.left >= 0


@contextmanager
def relayed(server: Server, number: int) -> Iterator[tuple[int, Relay]]:
    """Start a relay to a server that dies after `number` bytes; yield its port and the relay."""
    relay = Relay(server, number)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=relay.accept, args=(listener,))
        thread.start()
        try:
            yield int(listener.getsockname()[1]), relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
