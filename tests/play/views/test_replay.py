"""A motion is played again and again, or stands where the slider is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.play.motion import Motion
from pipeline.play.page import FRAME_HZ
from pipeline.play.scene import TOUCHED
from pipeline.play.views.replay import Player

if TYPE_CHECKING:
    from pipeline.play.page import Page
    from pipeline.play.scene import Scene


@pytest.fixture
def motion(scene: Scene) -> Motion:
    home = scene.model.home
    joint_pos = np.linspace(home, home + 0.4, 31)
    touching = [()] * 30 + [("link_5", "table")]
    pose = np.array([0.4, 0.1, 0.2]), np.array([0.0, 0.0, 1.0])
    return Motion(np.arange(31) / 30, joint_pos, pose, touching)


def shoulder(scene: Scene) -> list[float]:
    handle = scene.server.scene._handle_from_node_name["/arm/1"]
    return [float(value) for value in handle.wxyz]


def test_it_plays_in_real_time_and_starts_again(page: Page, scene: Scene, motion: Motion) -> None:
    player = Player(page, scene, scene.model)
    player.load(motion)
    start = shoulder(scene)
    for _ in range(FRAME_HZ // 2):
        player.frame()
    assert player.seconds == pytest.approx(0.5)
    assert shoulder(scene) != start
    for _ in range(3 * FRAME_HZ):
        player.frame()
        if player.seconds < 0.5:
            break
    assert player.seconds < 0.5, "it starts again"
    assert scene.object_pose[0] == pytest.approx([0.4, 0.1, 0.2])


def test_the_slider_pauses_it_and_contacts_are_red(
    page: Page, scene: Scene, motion: Motion
) -> None:
    player = Player(page, scene, scene.model)
    player.load(motion)
    link = scene.server.scene._handle_from_node_name["/arm/5/10"]
    player.seek(1.0)
    assert tuple(link.color) == TOUCHED
    player.frame()
    assert player.seconds == 1.0, "it is paused"
    player.seek(0.3)
    assert tuple(link.color) != TOUCHED
    player.play(True)
    player.frame()
    assert player.seconds > 0.3


def test_without_a_motion_nothing_moves(page: Page, scene: Scene, motion: Motion) -> None:
    player = Player(page, scene, scene.model)
    player.load(motion)
    player.load(None)
    before = shoulder(scene)
    player.frame()
    assert shoulder(scene) == before and not scene.handle.visible
    assert not scene.server.scene._handle_from_node_name["/lines/motion"].visible
