"""A panel is a folder that begins with a status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.play.views.panel import Panel

if TYPE_CHECKING:
    from pipeline.play.page import Page


def test_it_is_shown_and_hidden_with_its_status(page: Page) -> None:
    panel = Panel(page, "Something")
    panel._status.content = "<b>12 mm</b>"
    assert panel.status == "<b>12 mm</b>"
    for visible in (False, True):
        panel.show(visible)
        assert panel._folder.visible is visible
