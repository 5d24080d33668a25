"""The live view: the policy drives the simulated arm, and the user drags the object."""

from __future__ import annotations

import math
from html import escape

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Params
from pipeline.play.expert import Expert
from pipeline.play.nearest import NearestDemonstration
from pipeline.play.page import FRAME_HZ, Page
from pipeline.play.scene import DEMONSTRATION, EXPERT, SENT, WANTED, Scene
from pipeline.play.simulation import Box, Chunk, Knobs, Simulation, Step
from pipeline.play.views.knobs import KnobControls
from pipeline.play.views.panel import Panel
from pipeline.play.views.status import Row, lamp, table
from pipeline.play.views.user_boxes import UserBoxes
from pipeline.policy.observation import obstacle_slots
from pipeline.robot.retime import Plan
from pipeline.runtime.session import RobotPolicy

Array = NDArray[np.float64]
STATUS_FRAMES = 3
"""The numbers are written anew once in so many frames: ten times a second can be read."""
MOST_BOXES = 8
HOLD_FRAMES = FRAME_HZ
"""A contact stays red for at least so many frames, so that people see it."""


class LiveView(Panel):
    """Draws a simulation and lets the user disturb it."""

    def __init__(
        self,
        page: Page,
        scene: Scene,
        params: Params,
        policy: RobotPolicy,
        nearest: NearestDemonstration | None,
    ) -> None:
        """Make the controls and start the simulation.

        Args:
            page: runs the callbacks' work.
            scene: where to draw.
            params: all parameters.
            policy: the loaded policy.
            nearest: the demonstrations; None if there is no data set.
        """
        super().__init__(page, "Live")
        self._page, self._scene, self._nearest = page, scene, nearest
        self._name = policy.name
        self.simulation = Simulation(params, policy)
        self._expert = Expert(params)
        self.paused, self._frame, self.steps = False, 0, 0
        self._near_text = ""
        self._said, self._touched = "", (0, "")
        self._chunk: Chunk | None = None
        self._step: Step | None = None
        self._plan: tuple[Plan, int] | None = None
        fixed = len(params.task.scenes[params.task.scene])
        # A policy that sees obstacles has so many places for them; for the others the guard does.
        self._make_controls(page, fixed, obstacle_slots(policy.backend.config) or MOST_BOXES)
        scene.on_drag(lambda: page.post(self.dragged))
        self.move_object(self.simulation.object_pos, self.simulation.object_axis)

    def _make_controls(self, page: Page, fixed: int, most: int) -> None:
        gui = page.server.gui
        with self._folder:
            actions = gui.add_button_group("Motion", ("Pause", "Step", "Reset"))
            more = gui.add_button_group("Object", ("Random", "Expert's plan"))
            self._demonstration = gui.add_checkbox(
                "Demonstration",
                True,
                hint="Draw the way of the nearest demonstration.",
                disabled=self._nearest is None,
            )
            with gui.add_folder("Boxes", expand_by_default=False):
                self.boxes = UserBoxes(page, self._scene, fixed, most, self._place)
            with gui.add_folder("Disturb", expand_by_default=False):
                self.controls = KnobControls(
                    page, self.simulation.knobs, self.simulation.policy_hz, self.turn
                )
        tasks = {
            "Pause": self.pause, "Step": self.step_once, "Reset": self.reset,
            "Random": self.random_object, "Expert's plan": self.ask_expert,
        }  # fmt: skip
        for group in (actions, more):
            group.on_click(lambda event: page.post(tasks[str(event.target.value)]))
        self._demonstration.on_update(lambda _: page.post(self._show_nearest))

    def show(self, visible: bool) -> None:
        """Show or hide the view.

        Args:
            visible: whether it is shown.
        """
        super().show(visible)
        self._scene.show_handle(visible)
        self.boxes.show(visible)
        if visible:
            self._scene.show_object(True)
            self._scene.place_object(self.simulation.object_pos, self.simulation.object_axis)
            self._scene.arm.move(self.simulation.joint_pos)
            self._show_nearest()
            return
        for name in ("wanted", "sent", "expert", "demonstration"):
            self._scene.line(name, None)
        self._scene.expert.visible = False
        self._scene.mark(())

    def frame(self) -> None:
        """Advance the simulation by the time of one frame and draw it."""
        if not self.paused:
            self._frame += 1
            # Whole numbers: a slower control loop takes several frames for a step, a faster one
            # several steps in a frame.
            ratio = self.simulation.rate_hz / FRAME_HZ
            due = math.ceil(self._frame * ratio - 1e-9)
            while self.steps < due:
                self._advance()
            share = self._frame * ratio - (due - 1)
            if self._step is not None:
                last = len(self._step.motion) - 1
                self._scene.arm.move(self._step.motion[min(round(share * last), last)])
        self._draw_expert()
        if self._touched[0] > 0 and not self.paused:
            self._touched = (self._touched[0] - 1, self._touched[1])
            if self._touched[0] == 0:
                self._scene.mark(())
        if self._frame % STATUS_FRAMES == 0 or self.paused:
            self._write_status()

    def pause(self) -> None:
        """Pause, or go on."""
        self.paused = not self.paused

    def step_once(self) -> None:
        """Pause and run one control step."""
        self.paused = True
        self._advance()
        if self._step is not None:
            self._scene.arm.move(self._step.motion[-1])
        self._frame = round(self.steps * FRAME_HZ / self.simulation.rate_hz)

    def reset(self) -> None:
        """Put the arm back to its home pose."""
        self.simulation.reset()
        self._scene.arm.move(self.simulation.joint_pos)
        self._forget()

    def turn(self, knobs: Knobs) -> None:
        """Change the knobs.

        Args:
            knobs: the new settings.
        """
        self.simulation.change(knobs)
        self._frame = self.steps = 0

    def move_object(self, position: Array, axis: Array) -> None:
        """Move the object in the simulation and in the picture.

        Args:
            position: centre, m. Shape (3,).
            axis: unit axis. Shape (3,).
        """
        self._scene.place_object(position, axis)
        self.dragged()

    def random_object(self) -> None:
        """Move the object to a random place that the expert reaches."""
        self.move_object(*self._expert.random_object())

    def ask_expert(self) -> None:
        """Plan a motion for the present object, and show it beside the policy's arm."""
        self._said = "plans …"

        def done(plan: Plan | None, reason: str) -> None:
            self._page.post(lambda: self._take_plan(plan, reason))

        pose = self.simulation.object_pos, self.simulation.object_axis
        self._expert.in_background(*pose, done)

    def _take_plan(self, plan: Plan | None, reason: str) -> None:
        self._plan = None if plan is None else (plan, self._frame)
        self._scene.expert.visible = plan is not None and self._visible
        self._said = f"no plan: {reason}"
        path = None
        if plan is not None:
            self._said = f"plans {plan.duration_s:.2f} s from home"
            path = self.simulation.model.fk(plan.joint_pos)[:, :3]
        if self._visible:
            self._scene.line("expert", path, EXPERT)

    def _draw_expert(self) -> None:
        if self._plan is None:
            return
        plan, start = self._plan
        # It starts again a second after its end.
        seconds = ((self._frame - start) / FRAME_HZ) % (plan.duration_s + 1.0)
        times = np.array([min(seconds, plan.duration_s)])
        self._scene.expert.move(plan.sample(times)[0])

    def _advance(self) -> None:
        step = self._step = self.simulation.step()
        self.steps += 1
        if step.contact is not None:
            self._touched = (HOLD_FRAMES, " and ".join(step.contact))
            self._scene.mark(step.contact)
        if step.chunk is not None:
            chunk = self._chunk = step.chunk
            changed = chunk.finding is not None and chunk.finding.verdict not in ("free", "unsafe")
            self._scene.line("wanted", chunk.wanted, WANTED)
            self._scene.line("sent", chunk.sent if changed else None, SENT)

    def dragged(self) -> None:
        """Take the pose to which the user has dragged the object."""
        self.simulation.move_object(*self._scene.object_pose)
        self._drop_plan()
        self._show_nearest()

    def _drop_plan(self) -> None:
        """Forget the expert's plan, which was for another object or for other boxes."""
        if self._plan is not None:
            self._plan, self._said = None, ""
            self._scene.expert.visible = False
            self._scene.line("expert", None)

    def _show_nearest(self) -> None:
        if self._nearest is None or not self._visible:
            return
        found = self._nearest.find(self.simulation.object_pos, self.simulation.object_axis)
        self._near_text = (
            f"nearest is {found.offset_mm:.0f} mm, {found.angle_deg:.0f}° off "
            f"(episode {found.episode})"
        )
        path = found.path if self._demonstration.value else None
        self._scene.line("demonstration", path, DEMONSTRATION)

    def _place(self, boxes: list[Box]) -> None:
        self.simulation.place(boxes)
        self._expert.place(boxes)
        self._drop_plan()

    def _forget(self) -> None:
        self._frame = self.steps = 0
        self._chunk = self._step = None
        self._touched = (0, "")
        self._scene.mark(())

    def _write_status(self) -> None:
        step, chunk = self._step, self._chunk
        rows: list[Row] = []
        if step is not None:
            rows.append(("from the grasp", f"{step.error_mm:.1f} mm, {step.error_deg:.1f}°"))
        finding = None if chunk is None else chunk.finding
        guard = "off" if finding is None else escape(str(finding))
        rows.append(("contact", escape(self._touched[1]) if self._touched[0] else "none"))
        rows.append(("guard", guard))
        if chunk is not None:
            rows.append(("chunk", f"{chunk.milliseconds:.1f} ms on {escape(self._name)}"))
        if self._near_text:
            rows.append(("demonstration", self._near_text))
        if self._said:
            rows.append(("expert", escape(self._said)))
        rows.append(("frames", f"{self._page.frames_per_s:.0f} per second"))
        reached = step is not None and step.reached
        state = "At the grasp" if reached else "Paused" if self.paused else "On its way"
        self._status.content = lamp(reached, state) + table(rows)
