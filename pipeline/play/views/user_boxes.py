"""Boxes that a user adds to the scene, drags, resizes and removes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import OBSTACLE
from pipeline.play.page import Page
from pipeline.play.scene import BOX, GIZMO_M, Scene
from pipeline.play.simulation import Box

Array = NDArray[np.float64]
FIRST_M = (0.45, 0.0, 0.55)
"""Where a new box appears, base frame, m."""
SIZE_M = (0.06, 0.20, 0.06)
"""Size of a new box, m."""


class UserBoxes:
    """The user's boxes and their controls. One box is selected: its arrows and size are shown."""

    def __init__(
        self,
        page: Page,
        scene: Scene,
        fixed: int,
        most: int,
        changed: Callable[[list[Box]], None],
    ) -> None:
        """Make the controls, inside the folder that is open.

        Args:
            page: runs the callbacks' work.
            scene: where to draw.
            fixed: number of boxes in the scene of params.yaml.
            most: largest number of boxes.
            changed: called with all boxes after each change.
        """
        self._page, self._scene, self._fixed, self._changed = page, scene, fixed, changed
        self._most = most
        self._nodes: list[tuple[Any, Any]] = []
        """Gizmo and box of each."""
        self._selected: Any = None
        self._added = 0
        gui = page.server.gui
        self.add_button = gui.add_button("Add a box")
        self.remove_button = gui.add_button("Remove the selected box", disabled=True)
        self.size = gui.add_vector3(
            "Size, m", SIZE_M, min=(0.01, 0.01, 0.01), max=(0.6, 0.6, 0.6), step=0.01, visible=False
        )
        self.add_button.on_click(lambda _: page.post(self.add))
        self.remove_button.on_click(lambda _: page.post(self.remove))
        self.size.on_update(lambda _: page.post(self._resize))

    @property
    def boxes(self) -> list[Box]:
        """All boxes, as `Session.act` takes them."""
        return [
            {
                "centre_m": [float(value) for value in gizmo.position],
                "size_m": [float(value) for value in box.dimensions],
                "quaternion": [float(value) for value in np.roll(gizmo.wxyz, -1)],
            }
            for gizmo, box in self._nodes
        ]

    def add(self) -> None:
        """Add a box and select it."""
        if len(self._nodes) == self._most:
            return
        number = len(self._nodes)
        self._added += 1
        name = f"/boxes/{self._added}"
        # New boxes do not cover each other.
        place = np.array(FIRST_M) + np.array([0.0, 0.0, 0.08]) * number
        gizmo = self._scene.server.scene.add_transform_controls(
            name, scale=GIZMO_M, line_width=3.0, depth_test=False, position=place
        )
        box = self._scene.server.scene.add_box(f"{name}/box", color=BOX, dimensions=SIZE_M)
        self._nodes.append((gizmo, box))
        self._scene.boxes[self._name(number)] = box
        gizmo.on_update(lambda _: self._page.post(self._tell))
        box.on_click(lambda _: self._page.post(lambda: self._select(gizmo)))
        self._select(gizmo)
        self._tell()

    def move(self, index: int, centre: Array) -> None:
        """Move a box.

        Args:
            index: which one, in the order of adding.
            centre: m, base frame. Shape (3,).
        """
        self._nodes[index][0].position = centre
        self._tell()

    def remove(self) -> None:
        """Remove the selected box."""
        kept = [(each, box) for each, box in self._nodes if each is not self._selected]
        if len(kept) == len(self._nodes):
            return
        self._selected.remove()
        for number in range(len(self._nodes)):
            self._scene.boxes.pop(self._name(number))
        self._nodes = kept
        self._scene.boxes.update({self._name(number): box for number, (_, box) in enumerate(kept)})
        self._select(kept[-1][0] if kept else None)
        self._tell()

    def show(self, visible: bool) -> None:
        """Show or hide all boxes.

        Args:
            visible: whether they are shown.
        """
        for gizmo, _ in self._nodes:
            gizmo.visible = visible

    def _name(self, number: int) -> str:
        return f"{OBSTACLE} {self._fixed + number + 1}"

    def _select(self, gizmo: Any) -> None:
        self._selected = gizmo
        for each, box in self._nodes:
            hidden = each is not gizmo
            each.disable_axes = each.disable_sliders = each.disable_rotations = hidden
            if not hidden:
                self.size.value = box.dimensions
        self.size.visible = gizmo is not None
        self.remove_button.disabled = gizmo is None
        self.add_button.disabled = len(self._nodes) == self._most

    def _resize(self) -> None:
        for gizmo, box in self._nodes:
            if gizmo is self._selected and tuple(box.dimensions) != tuple(self.size.value):
                box.dimensions = self.size.value
                self._tell()

    def _tell(self) -> None:
        self._changed(self.boxes)
