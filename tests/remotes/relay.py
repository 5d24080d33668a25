"""A server that dies after a number of bytes: at the same place on slow and on fast machines."""

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
    """Passes bytes between clients and a server, and kills the server after some of them."""

    server: Server
    left: int
    """Bytes that still pass, in both directions together."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, listener: socket.socket) -> None:
        """Serve clients, each in a thread, until the listener is shut down."""
        threads = []
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threads.append(threading.Thread(target=self.serve, args=(client,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def serve(self, client: socket.socket) -> None:
        """Pass on what a client and the server say, until one of them has left."""
        with client, suppress(OSError), socket.create_connection(self.server.address) as server:
            others = {client: server, server: client}
            while True:
                for source in select.select([*others], [], [])[0]:
                    data = source.recv(65_536)
                    if not data or not self.passes(len(data)):
                        return
                    others[source].sendall(data)

    def passes(self, number: int) -> bool:
        """Count bytes; kill the server where they are too many."""
        with self.lock:
            if self.left >= 0:
                self.left -= number
                if self.left < 0:
                    self.server.kill()
            return self.left >= 0


@contextmanager
def relayed(server: Server, number: int) -> Iterator[tuple[int, Relay]]:
    """Port of a relay to a server, which dies when more than a number of bytes has passed."""
    relay = Relay(server, number)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=relay.accept, args=(listener,))
        thread.start()
        try:
            yield int(listener.getsockname()[1]), relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
