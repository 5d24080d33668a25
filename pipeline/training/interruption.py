"""Asks a training to stop between two steps when the process is told to end."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """Remembers SIGTERM and Ctrl-C instead of dying of them at once; a second one does end it.

    Example:
        with StopSignal() as stop:
            while not stop.number:
                …
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.number = 0
        """Number of the signal that came, 0 before."""
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignal:
        """Take the signals over; only a process's main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {name: signal.signal(name, self._ask) for name in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give them back."""
        for name, handler in self._previous.items():
            signal.signal(name, handler)

    @property
    def status(self) -> int:
        """Exit status of a process that a signal ended, as shells count: 143 or 130."""
        return 128 + self.number

    @property
    def name(self) -> str:
        """Name of the signal that came."""
        return signal.Signals(self.number).name

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise SystemExit(self.status)
        self.number = number
