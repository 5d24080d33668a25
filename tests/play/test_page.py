"""A page listens on its port or says why not, and draws the chosen view from one thread."""

from __future__ import annotations

import socket
import threading
import urllib.request
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.play import page as pages
from tests.conftest import HANG_S

if TYPE_CHECKING:
    from pipeline.play.page import Page


class Counter:
    """A view that counts its frames, and notes who draws it."""

    def __init__(self) -> None:
        self.frames, self.shown = 0, False
        self.threads: set[int] = set()

    def show(self, visible: bool) -> None:
        self.shown = visible

    def frame(self) -> None:
        self.frames += 1
        self.threads.add(threading.get_ident())


def test_it_serves_viser_s_own_client(page: Page) -> None:
    address = f"http://127.0.0.1:{page.server.get_port()}"
    with urllib.request.urlopen(address, timeout=HANG_S) as answer:
        assert answer.status == 200 and b"<html" in answer.read(2000).lower()


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(pages.PageError, match=rf"127\.0\.0\.1:{port}: .*another --port"):
            pages.start_server("127.0.0.1", port, "test")


def test_only_the_chosen_view_is_drawn(page: Page) -> None:
    first, second = Counter(), Counter()
    page.choose({"first": first, "second": second}, "second")
    page.frame()
    assert (first.frames, second.frames) == (0, 1) and second.shown and not first.shown
    page.post(lambda: page.show("first"))
    assert second.shown, "the loop's thread does it, before its next frame"
    page.frame()
    assert (first.frames, second.frames) == (1, 1) and first.shown and not second.shown


def test_the_loop_runs_until_it_is_stopped_and_measures_its_rate(page: Page) -> None:
    view, stopped, done = Counter(), threading.Event(), threading.Event()
    page.choose({"only": view}, "only")
    assert page.frames_per_s == 0
    thread = threading.Thread(target=page.run, args=(stopped,))
    thread.start()
    page.post(done.set)
    assert done.wait(HANG_S)
    while view.frames < 3:
        stopped.wait(0.01)
    stopped.set()
    thread.join(HANG_S)
    assert not thread.is_alive() and view.threads == {thread.ident}
    assert 0 < page.frames_per_s < 2 * pages.FRAME_HZ
