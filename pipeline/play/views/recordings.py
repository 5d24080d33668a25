"""The view of ingested trajectories: accepted and rejected ones, with the reasons."""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path

import numpy as np

from pipeline.play.episodes import MotionReader, Trajectory, groups
from pipeline.play.motion import Motion
from pipeline.play.page import Page
from pipeline.play.scene import Scene
from pipeline.play.views.panel import Panel
from pipeline.play.views.replay import Player
from pipeline.play.views.status import Row, lamp, table
from pipeline.robot.model import RobotModel


class RecordingsView(Panel):
    """Lists trajectories by the outcome of ingest and replays the chosen one."""

    def __init__(
        self,
        page: Page,
        scene: Scene,
        model: RobotModel,
        reader: MotionReader,
        trajectories: list[Trajectory],
    ) -> None:
        """Make the controls.

        Args:
            page: runs the callbacks' work.
            scene: where to draw.
            model: the arm.
            reader: finds the motions.
            trajectories: at least one.
        """
        super().__init__(page, "Recording")
        self._page, self._scene, self._reader = page, scene, reader
        self._groups = groups(trajectories)
        gui = page.server.gui
        with self._folder:
            self.group = gui.add_dropdown("Show", tuple(self._groups))
            self.number = gui.add_slider("Number", 0, 1, 1, 0)
            turn = gui.add_button_group("Go to", ("Previous", "Next"))
            self.player = Player(page, scene, model)
        self.group.on_update(lambda _: page.post(self._choose_group))
        self.number.on_update(lambda _: page.post(self._choose))
        turn.on_click(lambda event: page.post(lambda: self.turn(str(event.target.value))))
        self._chosen: Trajectory | None = None

    @property
    def _listed(self) -> list[Trajectory]:
        return self._groups[str(self.group.value)]

    def turn(self, way: str) -> None:
        """Go to a neighbour in the list.

        Args:
            way: Previous or Next.
        """
        step = 1 if way == "Next" else -1
        self.number.value = (int(self.number.value) + step) % len(self._listed)

    def _choose_group(self) -> None:
        self.number.max = max(len(self._listed) - 1, 1)
        self.number.disabled = len(self._listed) == 1
        self.number.value = 0
        self._choose()

    def _choose(self) -> None:
        index = min(int(self.number.value), len(self._listed) - 1)
        chosen = self._listed[index]
        if chosen is self._chosen:
            return
        self._chosen = chosen
        if self._reader.is_ready(chosen):
            self._take(chosen, self._reader.motion(chosen))
            return
        self._write(chosen, "reading the recording …")

        def read() -> None:
            found = self._reader.motion(chosen)
            self._page.post(lambda: self._take(chosen, found))

        threading.Thread(target=read, name="recording", daemon=True).start()

    def _take(self, trajectory: Trajectory, found: Motion | str) -> None:
        """Show a motion, unless another one was chosen meanwhile."""
        if trajectory is not self._chosen or not self._visible:
            return
        if isinstance(found, str):
            self.player.load(None)
            self._write(trajectory, found)
            return
        self.player.load(found)
        self._write(
            trajectory, "" if found.object_pose is not None else "without the object's pose"
        )

    def show(self, visible: bool) -> None:
        """Show or hide the view.

        Args:
            visible: whether it is shown.
        """
        super().show(visible)
        if visible:
            self._chosen = None
            self._scene.show_handle(False)
            self._choose_group()
        else:
            self.player.hide()

    def frame(self) -> None:
        """Advance by one frame."""
        self.player.frame()

    def _write(self, trajectory: Trajectory, note: str) -> None:
        accepted, episode = trajectory.episode is not None, trajectory.episode
        where = "whole file" if trajectory.message is None else f"message {trajectory.message}"
        rows: list[Row] = [
            ("recording", escape(Path(trajectory.source).name)),
            ("place", where + (f", part {trajectory.segment}" if trajectory.segment else "")),
        ]
        if episode is not None:
            speed = float(np.abs(episode.joint_vel).max())
            rows.append(("length", f"{episode.duration_s:.2f} s, {len(episode.t)} samples"))
            rows.append(("peak speed", f"{speed:.2f} rad/s"))
            if episode.provenance.derived:
                rows.append(("derived", escape("; ".join(episode.provenance.derived))))
        rows += [
            ("why" if not accepted else "warning", escape(text)) for text in trajectory.reasons
        ]
        if note:
            rows.append(("picture", escape(note)))
        self._status.content = lamp(accepted, "Accepted" if accepted else "Rejected") + table(rows)
