"""The live view: the policy follows the object, and every control does what it says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.evaluation.failures import Demonstrations
from pipeline.params import Params
from pipeline.play.nearest import NearestDemonstration
from pipeline.play.page import Page
from pipeline.play.scene import SENT, WANTED, Scene
from pipeline.play.views.live import LiveView
from pipeline.runtime.session import RobotPolicy
from tests.conftest import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def live(page: Page, scene: Scene, params: Params, policy: RobotPolicy) -> LiveView:
    one = np.array([[0.4, 0.0, 0.2]])
    joints = np.linspace(scene.model.home, scene.model.home + 0.3, 5)
    known = Demonstrations(
        np.array([17]), one, np.array([[0, 0, 1.0]]), joints, np.zeros(5, np.int64)
    )
    nearest = NearestDemonstration(known, params.task.object_length_m, scene.model)
    view = LiveView(page, scene, params, policy, nearest)
    page.choose({"Live": view}, "Live")
    return view


def draw(page: Page, frames: int) -> None:
    for _ in range(frames):
        page.frame()


def draw_until(page: Page, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG_S
    while not holds():
        assert time.monotonic() < deadline
        page.frame()


def line(page: Page, name: str) -> object:
    handle = page.server.scene._handle_from_node_name.get(f"/lines/{name}")
    return handle if handle is not None and handle.visible else None


def test_the_arm_reaches_the_object_and_the_lamp_goes_on(page: Page, live: LiveView) -> None:
    draw(page, 3)
    assert "On its way" in live.status and "nearest is" in live.status
    assert "episode 17" in live.status and "inverse kinematics" in live.status
    wanted = line(page, "wanted")
    assert WANTED == (0, 114, 178)
    assert tuple(wanted.colors.reshape(-1, 3)[0]) == (0, 43, 114), "the same in linear numbers"
    assert wanted.points.shape == (15, 2, 3), "sixteen steps"
    draw(page, 90)
    assert "At the grasp" in live.status and "contact" in live.status


def test_a_drag_of_the_object_makes_the_arm_follow(
    page: Page, scene: Scene, live: LiveView
) -> None:
    draw(page, 90)
    scene.handle.position = np.add(scene.handle.position, (0.0, 0.1, 0.05))
    live.dragged()  # as the browser's message does
    draw(page, 3)
    assert "At the grasp" not in live.status
    draw(page, 100)
    assert "At the grasp" in live.status
    tcp = scene.model.tcp(live.simulation.joint_pos).translation
    assert np.linalg.norm(tcp - scene.object_pose[0]) == pytest.approx(0.06, abs=0.003)


def test_pause_step_and_reset(page: Page, live: LiveView) -> None:
    draw(page, 20)
    live.pause()
    at_rest = live.simulation.joint_pos
    draw(page, 5)
    assert np.array_equal(live.simulation.joint_pos, at_rest) and "Paused" in live.status
    live.step_once()
    moved = live.simulation.joint_pos
    assert not np.array_equal(moved, at_rest)
    draw(page, 3)
    assert np.array_equal(live.simulation.joint_pos, moved)
    live.reset()
    assert live.simulation.joint_pos == pytest.approx(live.simulation.model.home)
    live.pause()
    draw(page, 3)
    assert not np.array_equal(live.simulation.joint_pos, live.simulation.model.home)


@pytest.mark.parametrize("rate", ["10", "30", "100"])
def test_a_second_takes_thirty_frames_at_any_control_rate(
    page: Page, live: LiveView, rate: str
) -> None:
    live.controls.rate.value = rate
    draw(page, 1)
    live.reset()
    before = live.steps
    draw(page, 30)
    assert live.steps - before == int(rate)


def test_the_expert_s_plan_is_shown_until_the_object_moves(
    page: Page, scene: Scene, live: LiveView
) -> None:
    live.random_object()
    live.ask_expert()
    draw_until(page, lambda: scene.expert.visible)
    assert line(page, "expert") is not None
    draw_until(page, lambda: "s from home" in live.status)
    live.random_object()
    assert not scene.expert.visible and line(page, "expert") is None


def test_contacts_and_the_guard_s_work_are_shown(page: Page, live: LiveView) -> None:
    live.boxes.add()
    centre = live.boxes.boxes[0]["centre_m"]
    assert live.simulation.boxes[0]["centre_m"] == centre
    live.controls.guard.value = "off"
    live.boxes.move(0, live.simulation.model.tcp(live.simulation.joint_pos).translation)
    draw(page, 4)
    assert "obstacle 1" in live.status
    live.boxes.remove()
    assert live.simulation.boxes == ()
    draw(page, 60)
    assert "obstacle 1" not in live.status


def test_the_guard_keeps_away_from_a_box(page: Page, live: LiveView) -> None:
    draw(page, 90)
    live.boxes.add()
    # On the way to the object's next place.
    tcp = live.simulation.model.tcp(live.simulation.joint_pos).translation
    live.boxes.move(0, np.add(tcp, (0.0, 0.16, 0.02)))
    live.simulation.move_object(
        np.add(live.simulation.object_pos, (0.0, 0.3, 0.0)), live.simulation.object_axis
    )
    found, touched = set(), False
    for _ in range(60):
        step = live.simulation.step()
        touched |= step.contact is not None
        if step.chunk is not None and step.chunk.finding is not None:
            found.add((step.chunk.finding.verdict, step.chunk.finding.second))
    assert not touched
    assert any(verdict != "free" and second == "obstacle 1" for verdict, second in found), found


def test_a_hidden_view_leaves_no_lines(page: Page, live: LiveView) -> None:
    draw(page, 5)
    assert line(page, "demonstration") is not None
    live.show(False)
    assert line(page, "wanted") is None and line(page, "demonstration") is None
    live.show(True)
    assert line(page, "demonstration") is not None
    assert SENT != WANTED
