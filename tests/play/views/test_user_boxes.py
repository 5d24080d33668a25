"""Boxes are added, moved, resized and removed; each change is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.play.views.user_boxes import SIZE_M, UserBoxes

if TYPE_CHECKING:
    from pipeline.play.page import Page
    from pipeline.play.scene import Scene
    from pipeline.play.simulation import Box

MOST = 4


def test_every_change_is_told(page: Page, scene: Scene) -> None:
    told: list[list[Box]] = []
    boxes = UserBoxes(page, scene, 0, 8, told.append)
    boxes.add()
    boxes.add()
    assert [len(each) for each in told] == [1, 2]
    assert told[-1][0]["size_m"] == pytest.approx(SIZE_M)
    assert told[-1][0]["quaternion"] == pytest.approx([0, 0, 0, 1])
    assert list(scene.boxes) == ["obstacle 1", "obstacle 2"]
    boxes.move(0, np.array([0.1, 0.2, 0.3]))
    assert told[-1][0]["centre_m"] == pytest.approx([0.1, 0.2, 0.3])
    boxes.size.value = (0.3, 0.1, 0.1)
    page.frame()
    assert [each["size_m"][0] for each in told[-1]] == pytest.approx([SIZE_M[0], 0.3])
    boxes.remove()
    assert len(told[-1]) == 1 and list(scene.boxes) == ["obstacle 1"]
    assert told[-1][0]["centre_m"] == pytest.approx([0.1, 0.2, 0.3]), "the selected one went"
    boxes.remove()
    boxes.remove()
    assert told[-1] == [] and boxes.remove_button.disabled


def test_their_number_is_bounded(page: Page, scene: Scene) -> None:
    boxes = UserBoxes(page, scene, 3, MOST, lambda _: None)
    for _ in range(MOST + 2):
        boxes.add()
    assert len(boxes.boxes) == MOST and boxes.add_button.disabled
    assert f"obstacle {MOST + 3}" in scene.boxes
    boxes.remove()
    boxes.add()
    assert len({id(box) for box in scene.boxes.values()}) == MOST
