"""Accepted and rejected trajectories are shown with their reasons."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.params import Params
from pipeline.play.episodes import MotionReader, read_trajectories
from pipeline.play.views.recordings import RecordingsView
from tests.conftest import HANG_S

if TYPE_CHECKING:
    from pipeline.play.page import Page
    from pipeline.play.scene import Scene


def test_one_sees_each_episode_and_why_others_were_rejected(
    page: Page, scene: Scene, params: Params, ingested: Path
) -> None:
    found = read_trajectories(ingested, params)
    view = RecordingsView(page, scene, scene.model, MotionReader(params, found), found)
    page.choose({"Recordings": view}, "Recordings")
    page.frame()
    assert "Accepted" in view.status and "message 0" in view.status and "1.20 s" in view.status
    view.turn("Next")
    page.frame()
    assert "message 2" in view.status
    assert scene.object_pose[0] == pytest.approx([0.4, 0.02, 0.2])

    # The recording is read in a thread of its own.
    view.group.value = view.group.options[1]
    deadline = time.monotonic() + HANG_S
    while "reading" in view.status or "Rejected" not in view.status:
        assert time.monotonic() < deadline
        page.frame()
    assert "message 1" in view.status and "TIME_ALL_ZERO" in view.status
    view.turn("Previous")
    page.frame()
    assert "JOINT_MISSING" in view.status and "cannot be matched" in view.status
    assert not scene.handle.visible, "nothing can be drawn"
    view.turn("Previous")
    page.frame()
    assert "FRAME_UNRESOLVED" in view.status and "without the object" in view.status
