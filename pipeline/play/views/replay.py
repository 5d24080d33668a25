"""Shows a recorded motion, with a slider for the time."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.obstacles import COLUMNS
from pipeline.play.motion import Motion
from pipeline.play.page import FRAME_HZ, Page
from pipeline.play.scene import WANTED, Scene
from pipeline.robot.model import RobotModel

PAUSE_S = 1.0
"""A motion starts again this long after its end, s."""


class Player:
    """Plays one motion again and again, or stands still where the user put the slider."""

    def __init__(self, page: Page, scene: Scene, model: RobotModel) -> None:
        """Make the controls, inside the folder that is open.

        Args:
            page: runs the callbacks' work.
            scene: where to draw.
            model: the arm.
        """
        self._scene, self._model = scene, model
        self._motion: Motion | None = None
        self._clock_s = 0.0
        self._slider = page.server.gui.add_slider("Time, s", 0.0, 1.0, 0.01, 0.0)
        self._button = page.server.gui.add_button("Pause")
        self._playing = True

        def slide(event: Any) -> None:
            # Values that the player itself sets come from no client.
            if event.client is not None:
                page.post(lambda: self.seek(float(self._slider.value)))

        self._slider.on_update(slide)
        self._button.on_click(lambda _: page.post(lambda: self.play(not self._playing)))

    @property
    def seconds(self) -> float:
        """Present time of the motion, s."""
        return self._clock_s

    def load(self, motion: Motion | None) -> None:
        """Show a motion from its start.

        Args:
            motion: the motion; None leaves the arm where it is.
        """
        self._motion, self._clock_s = motion, 0.0
        if motion is not None:
            self._slider.max = max(round(float(motion.times[-1]), 2), 0.01)
            path = self._model.fk(motion.joint_pos)[:, :3]
            self._scene.line("motion", path, WANTED)
            known = motion.object_pose is not None
            self._scene.show_object(known)
            self._scene.show_obstacles(motion.obstacles)
            if motion.object_pose is not None:
                self._scene.place_object(*motion.object_pose)
        else:
            self.hide()
            self._scene.show_object(False)
        self.play(True)
        self.draw()

    def hide(self) -> None:
        """Remove the line and the obstacles of the motion."""
        self._scene.line("motion", None)
        self._scene.show_obstacles(np.zeros((0, COLUMNS)))

    def play(self, playing: bool) -> None:
        """Play or pause.

        Args:
            playing: whether the time runs.
        """
        self._playing = playing
        self._button.label = "Pause" if playing else "Play"

    def seek(self, seconds: float) -> None:
        """Pause at a time.

        Args:
            seconds: time from the start, s.
        """
        self.play(False)
        self._clock_s = seconds
        self.draw()

    def frame(self) -> None:
        """Advance by one frame."""
        if self._motion is None or not self._playing:
            return
        self._clock_s += 1 / FRAME_HZ
        end = float(self._motion.times[-1])
        if self._clock_s > end + PAUSE_S:
            self._clock_s = 0.0
        self._slider.value = round(min(self._clock_s, end), 2)
        self.draw()

    def draw(self) -> None:
        """Draw the arm at the present time."""
        if self._motion is None:
            self._scene.mark(())
            return
        self._scene.arm.move(self._motion.at(self._clock_s))
        self._scene.mark(self._motion.touching_at(self._clock_s))
