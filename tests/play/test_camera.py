"""The near plane leaves out the background, and never a part of the arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.play.camera import CAMERA_M, CLOSE_M, NARROW_CAMERA_M, NEAR_M, near_m, reach_m

if TYPE_CHECKING:
    from pipeline.play.page import Page
    from pipeline.play.scene import Scene


@pytest.mark.parametrize("camera_m", [CAMERA_M, NARROW_CAMERA_M])
def test_the_first_pictures_leave_out_the_background(
    camera_m: tuple[float, float, float], page: Page, scene: Scene
) -> None:
    assert near_m(np.array(camera_m), reach_m(scene.model)) == NEAR_M > 1.0
    assert page.server.initial_camera.near == NEAR_M


def test_a_camera_close_to_the_arm_cuts_nothing_off(scene: Scene) -> None:
    rng, model = np.random.default_rng(1), scene.model
    reach = reach_m(model)
    drawn = model.fk(rng.uniform(model.lower, model.upper, (2000, len(model.home))))
    furthest = np.linalg.norm(drawn[:, :3], axis=1).max()
    assert furthest + 0.04 < reach < furthest + 0.15
    assert near_m(np.array([reach + NEAR_M - 0.01, 0.0, 0.0]), reach) == CLOSE_M
