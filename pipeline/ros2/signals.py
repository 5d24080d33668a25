"""Ends a command in order when it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """Yield an event that SIGINT (Ctrl-C) and SIGTERM set, instead of ending the process."""
    stopped = threading.Event()
    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(name, lambda *_: stopped.set()) for name in names]
    try:
        yield stopped
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)
