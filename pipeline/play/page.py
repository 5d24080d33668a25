"""Runs a page: a viser server on this machine, and a loop that draws one view 30 times a second."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import viser

from pipeline.errors import PipelineError

FRAME_HZ = 30
"""Frames per second; a demonstration is recorded at about this rate."""
LATE_S = 0.25
"""A loop that is later than this drops frames instead of hurrying after them, s."""


class PageError(PipelineError):
    """The page cannot be shown."""


class View(Protocol):
    """One of the things that a page can show."""

    def show(self, visible: bool) -> None:
        """Show or hide the view's controls, and draw its state."""

    def frame(self) -> None:
        """Advance by one frame, 1 / FRAME_HZ seconds, and draw it."""


class Page:
    """Shows one of several views. The loop's thread alone changes and draws them.

    Callbacks of the page run in other threads, so they hand their work to `post`.
    """

    def __init__(self, server: viser.ViserServer) -> None:
        """Make a page without views.

        Args:
            server: from `start_server`.
        """
        self.server = server
        self._views: dict[str, View] = {}
        self._shown: View | None = None
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.frames = 0
        """Number of frames drawn."""
        self._drawn: deque[float] = deque(maxlen=2 * FRAME_HZ)

    def choose(self, views: Mapping[str, View], first: str) -> None:
        """Let the user choose among views.

        Args:
            views: the views by their label.
            first: label of the view to begin with.
        """
        self._views = dict(views)
        if len(views) > 1:
            chooser = self.server.gui.add_button_group("View", tuple(views), order=-1)
            chooser.value = first
            chooser.on_click(lambda _: self.post(lambda: self.show(str(chooser.value))))

        self.show(first)

    def show(self, label: str) -> None:
        """Show a view and hide the others.

        Args:
            label: one of those of `choose`.
        """
        self._shown = self._views[label]
        for view in self._views.values():
            if view is not self._shown:
                view.show(False)
        self._shown.show(True)

    def post(self, task: Callable[[], None]) -> None:
        """Let the loop's thread do something before its next frame. May be called by any thread.

        Args:
            task: what to do.
        """
        self._tasks.put(task)

    @property
    def frames_per_s(self) -> float:
        """Frames drawn per second, measured over the last two seconds."""
        if len(self._drawn) < 2:
            return 0.0
        return (len(self._drawn) - 1) / max(self._drawn[-1] - self._drawn[0], 1e-9)

    def frame(self) -> None:
        """Do what was posted, then draw one frame."""
        while not self._tasks.empty():
            self._tasks.get()()
        if self._shown is not None:
            with self.server.atomic():
                self._shown.frame()
        self._drawn.append(time.monotonic())
        self.frames += 1

    def run(self, stopped: threading.Event) -> None:
        """Draw frames in real time.

        Args:
            stopped: ends the loop.
        """
        due = time.monotonic()
        while not stopped.is_set():
            self.frame()
            due = max(due + 1 / FRAME_HZ, time.monotonic() - LATE_S)
            stopped.wait(max(due - time.monotonic(), 0.0))


def start_server(host: str, port: int, title: str) -> viser.ViserServer:
    """Start the server of a page.

    Args:
        host: address to listen on.
        port: port; 0 takes a free one.
        title: title of the browser's tab.

    Raises:
        PageError: the address cannot be used or the port is taken.
    """
    # viser itself would silently take the next free port.
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
    except OSError as error:
        raise PageError(
            f"cannot listen on {host}:{port}: {error}; choose another --port, or end the program "
            "that uses it"
        ) from error
    server = viser.ViserServer(host, port, label=title, verbose=False)
    if server.get_port() != port:
        server.stop()
        raise PageError(f"cannot listen on {host}:{port}: it was just taken; choose another --port")
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    # Controls beside the picture instead of above it: fewer pixels to draw.
    server.gui.main_panel.dock_right()
    return server
