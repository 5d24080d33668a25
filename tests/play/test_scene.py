"""The scene shows the arm, the object and lines where they are, and paints what touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.obstacles import box, cylinder, sphere
from pipeline.params import Params
from pipeline.play.scene import BOX, OBJECT, TOUCHED, Scene, quaternion_axis

if TYPE_CHECKING:
    from pipeline.play.page import Page


def colours(page: Page, prefix: str) -> set[tuple[int, int, int]]:
    """Colours of the nodes below a name."""
    handles = page.server.scene._handle_from_node_name
    return {
        tuple(handle.color)
        for name, handle in handles.items()
        if name.startswith(prefix) and hasattr(handle, "color")
    }


def test_the_object_stands_where_it_was_placed(scene: Scene) -> None:
    axis = np.array([0.3, -0.2, 0.9]) / np.linalg.norm([0.3, -0.2, 0.9])
    scene.place_object(np.array([0.4, 0.1, 0.3]), axis)
    position, seen = scene.object_pose
    assert position == pytest.approx([0.4, 0.1, 0.3]) and seen == pytest.approx(axis)
    assert quaternion_axis(np.array([1.0, 0, 0, 0])) == pytest.approx([0, 0, 1])


def test_what_touches_is_red_until_it_does_not(page: Page, params: Params) -> None:
    scene = Scene(page.server, params.override("task", scene="bar"))
    assert len(scene.boxes) == 3 and colours(page, "/scene/") == {BOX}
    before = colours(page, "/arm/")
    scene.mark(("link_5", "obstacle 2"))
    assert TOUCHED in colours(page, "/arm/5") and TOUCHED not in colours(page, "/arm/4")
    assert colours(page, "/scene/2") == {TOUCHED} and colours(page, "/scene/1") == {BOX}
    scene.mark((params.task.object,))
    assert colours(page, "/object/body") == {TOUCHED}
    assert colours(page, "/arm/") == before and colours(page, "/scene/") == {BOX}
    scene.mark(())
    assert colours(page, "/object/") == {OBJECT}


def test_obstacles_of_a_motion_replace_those_before(page: Page, params: Params) -> None:
    scene = Scene(page.server, params.override("task", scene="bar"))
    rows = [box([0.4, 0, 0.3], [0.1, 0.2, 0.3]), cylinder([0.5, 0, 0.2], 0.05, 0.3)]
    scene.show_obstacles(np.stack([*rows, sphere([0.3, 0.1, 0.4], 0.06)]))
    nodes = page.server.scene._handle_from_node_name
    drawn = [nodes[f"/obstacles/obstacle {number}"] for number in (4, 5, 6)]
    assert tuple(drawn[0].dimensions) == pytest.approx((0.1, 0.2, 0.3))
    assert (drawn[1].radius, drawn[1].height) == pytest.approx((0.05, 0.3))
    assert drawn[2].radius == pytest.approx(0.06) and drawn[2].position[2] == pytest.approx(0.4)
    scene.mark(("obstacle 5",))
    assert colours(page, "/obstacles/obstacle 5") == {TOUCHED}
    assert colours(page, "/obstacles/obstacle 4") == {BOX}
    scene.show_obstacles(rows[0][None])
    assert [name for name in nodes if name.startswith("/obstacles/")] == ["/obstacles/obstacle 4"]


def test_the_arm_moves_with_its_joints(page: Page, scene: Scene) -> None:
    joint_pos = scene.model.home + 0.2
    scene.arm.move(joint_pos)
    last = page.server.scene._handle_from_node_name["/arm/6"]
    ahead = quaternion_axis(last.wxyz)
    tcp = scene.model.tcp(joint_pos).translation
    assert np.array(last.position) + 0.12 * ahead == pytest.approx(tcp, abs=1e-6)


def test_lines_are_moved_and_hidden(page: Page, scene: Scene) -> None:
    handles = page.server.scene._handle_from_node_name
    scene.line("wanted", np.eye(3))
    assert handles["/lines/wanted"].colors.shape == (2, 2, 3), "one for each point from the start"
    scene.line("wanted", np.zeros((5, 3)))
    assert handles["/lines/wanted"].points.shape == (4, 2, 3)
    assert handles["/lines/wanted"].colors.shape == (4, 2, 3)
    scene.line("wanted", None)
    assert not handles["/lines/wanted"].visible
    scene.line("wanted", np.eye(3))
    assert handles["/lines/wanted"].visible and handles["/lines/wanted"].points.shape == (2, 2, 3)
