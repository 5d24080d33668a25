"""The view of an evaluation's trials, worst first."""

from __future__ import annotations

from html import escape

import numpy as np

from pipeline.play.page import Page
from pipeline.play.scene import Scene
from pipeline.play.trial_runs import Trial, TrialError, TrialRun, TrialRunner
from pipeline.play.views.panel import Panel
from pipeline.play.views.replay import Player
from pipeline.play.views.status import Row, lamp, table

SAME_MM = 0.5
"""Trials that end further than this from what was recorded are reported as different, mm."""


class TrialsView(Panel):
    """Lists trials and replays the chosen one."""

    def __init__(
        self, page: Page, scene: Scene, runner: TrialRunner, trials: list[Trial], first: int | None
    ) -> None:
        """Make the controls.

        Args:
            page: runs the callbacks' work.
            scene: where to draw.
            runner: simulates the trials again.
            trials: in the order of the list.
            first: number of the trial to begin with; None for the first of the list.

        Raises:
            TrialError: there is no trial of that number.
        """
        self._scene, self._runner = scene, runner
        self._trials = {trial.number: trial for trial in trials}
        if first is not None and first not in self._trials:
            raise TrialError(
                f"--trial {first}: the evaluation has no such trial; expected one of "
                f"{min(self._trials)} to {max(self._trials)}"
            )
        labels = {_label(trial): trial.number for trial in trials}
        start = trials[0].number if first is None else first
        super().__init__(page, "Trial")
        with self._folder:
            self.chooser = page.server.gui.add_dropdown(
                "Trial, worst first", tuple(labels), initial_value=_label(self._trials[start])
            )
            self.player = Player(page, scene, runner.model)
        self._chosen = self._trials[start]
        self._run: TrialRun | None = None
        self.chooser.on_update(
            lambda _: page.post(lambda: self.choose(labels[str(self.chooser.value)]))
        )

    def choose(self, number: int) -> None:
        """Simulate a trial and show it.

        Args:
            number: number of the trial.
        """
        self._chosen = self._trials[number]
        self._run = self._runner.run(self._chosen)
        if self._visible:
            self.player.load(self._run.motion)
            self._write()

    def show(self, visible: bool) -> None:
        """Show or hide the view.

        Args:
            visible: whether it is shown.
        """
        super().show(visible)
        if not visible:
            self.player.hide()
            self._scene.mark(())
        elif self._run is None:
            self.choose(self._chosen.number)
        else:
            self.player.load(self._run.motion)

    def frame(self) -> None:
        """Advance by one frame."""
        self.player.frame()
        self._write()

    def _write(self) -> None:
        run, trial = self._run, self._chosen
        if run is None:
            return
        times = run.motion.times[1:]
        index = min(int(np.searchsorted(times, self.player.seconds)), len(times) - 1)
        rows: list[Row] = [
            ("class", escape(trial.kind)),
            ("now", f"{run.error_mm[index]:.1f} mm, {run.error_deg[index]:.1f}° from the grasp"),
            ("at the end", f"{run.error_mm[-1]:.1f} mm, {run.error_deg[-1]:.1f}°"),
            ("recorded", f"{trial.error_mm:.1f} mm, {trial.error_deg:.1f}°"),
            ("first contact", escape(run.contact) or "none"),
            ("guard", escape(run.guard) or "free"),
        ]
        if abs(run.error_mm[-1] - trial.error_mm) > SAME_MM:
            rows.append(("note", "ends elsewhere than recorded: policy or parameters have changed"))
        self._status.content = lamp(run.passed, f"Trial {trial.number}") + table(rows)


def _label(trial: Trial) -> str:
    return f"{trial.number}: {trial.error_mm:.1f} mm, {trial.kind}"
