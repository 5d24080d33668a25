"""A real browser shows the page, and a drag with the mouse makes the arm reach the new place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.params import Params
from pipeline.play.page import Page
from pipeline.play.scene import GIZMO_M, Scene
from pipeline.play.views.live import LiveView
from pipeline.runtime.session import RobotPolicy
from tests.conftest import HANG_S
from tests.fixtures.browser import Browser, find_chromium, open_browser

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine"),
]
X = np.array([1.0, 0.0, 0.0])
SHOWN = "(document.body?.innerText ?? '')"


@pytest.fixture
def live(page: Page, scene: Scene, params: Params, policy: RobotPolicy) -> Iterator[LiveView]:
    """The live view, drawn in real time."""
    view = LiveView(page, scene, params, policy, None)
    page.choose({"Live": view}, "Live")
    stopped = threading.Event()
    thread = threading.Thread(target=page.run, args=(stopped,))
    thread.start()
    yield view
    stopped.set()
    thread.join(HANG_S)


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + HANG_S
    while not holds():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.05)


def pixel(page: Page, point: NDArray[np.float64]) -> tuple[float, float]:
    """Where the only client's camera sees a point."""
    [client] = page.server.get_clients().values()
    camera = client.camera
    w, *vector = (float(value) for value in camera.wxyz)
    # The inverse rotation; the camera looks along z, x is right and y is down.
    seen = point - camera.position
    cross = 2 * np.cross(-np.array(vector), seen)
    x, y, z = seen + w * cross + np.cross(-np.array(vector), cross)
    focal = camera.image_height / 2 / np.tan(camera.fov / 2)
    return camera.image_width / 2 + focal * x / z, camera.image_height / 2 + focal * y / z


def drag_along_x(browser: Browser, page: Page, scene: Scene, distance_m: float) -> None:
    """Drag the red arrow of the upright object until it has moved."""
    start = scene.object_pose[0]

    def tried() -> bool:
        # The browser may not be ready, and its messages take their time.
        if np.linalg.norm(scene.object_pose[0] - start) > distance_m / 3:
            return True
        arrow = scene.object_pose[0] + 0.75 * GIZMO_M * X
        browser.drag(pixel(page, arrow), pixel(page, arrow + distance_m * X))
        time.sleep(0.5)
        return False

    wait_until(tried)


def colours(path: Path) -> int:
    """Number of different colours in a picture."""
    with Image.open(path) as image:
        return len(image.convert("RGB").getcolors(maxcolors=1 << 24))


def test_a_drag_makes_the_arm_reach_the_new_place(
    page: Page, scene: Scene, live: LiveView, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{page.server.get_port()}"
    with open_browser(tmp_path / "profile") as browser:
        browser.open(address, 1280, 800)
        browser.wait_for(f"{SHOWN}.includes('At the grasp')")
        browser.wait_for("document.querySelector('canvas') !== null")
        wait_until(page.server.get_clients)
        before = scene.object_pose[0]
        drag_along_x(browser, page, scene, 0.09)
        after = scene.object_pose[0]
        assert after[0] - before[0] > 0.03 and after[1:] == pytest.approx(before[1:], abs=1e-3)

        def arrived() -> bool:
            tcp = scene.model.tcp(live.simulation.joint_pos).translation
            return bool(np.linalg.norm(tcp - scene.object_pose[0]) < 0.065)

        wait_until(arrived)
        browser.wait_for(f"{SHOWN}.includes('At the grasp')")
        browser.screenshot(tmp_path / "wide.png")
        browser.resize(420, 860)
        browser.wait_for(f"{SHOWN}.includes('At the grasp')")
        browser.screenshot(tmp_path / "narrow.png")
        assert all(colours(tmp_path / f"{name}.png") > 200 for name in ("wide", "narrow"))
        outside = [
            url
            for url in browser.requested
            if not url.startswith((address, f"blob:{address}", "data:"))
        ]
        assert outside == [], "the page needs nothing but its own server"


def test_a_closed_tab_ends_nothing(page: Page, live: LiveView, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{page.server.get_port()}"
    for visit in ("first", "second"):
        with open_browser(tmp_path / visit) as browser:
            browser.open(address, 800, 600)
            browser.wait_for(f"{SHOWN}.includes('from the grasp')")
            wait_until(page.server.get_clients)
        wait_until(lambda: not page.server.get_clients())
        steps = live.steps
        wait_until(lambda before=steps: live.steps > before + 5)
