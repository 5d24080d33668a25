"""The controls that disturb the loop: conditions of the robustness suite, and each knob alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from pipeline.evaluation.disturbance import Disturbance
from pipeline.evaluation.robustness import DEG_PER_MM, NOMINAL, Condition, conditions
from pipeline.play.page import Page
from pipeline.play.simulation import GuardMode, Knobs

RATES_HZ = (10, 20, 30, 50, 100)


class KnobControls:
    """Sliders and lists for `Knobs`."""

    def __init__(
        self, page: Page, first: Knobs, policy_hz: float, changed: Callable[[Knobs], None]
    ) -> None:
        """Make the controls, inside the folder that is open.

        Args:
            page: runs the callbacks' work.
            first: the settings to begin with.
            policy_hz: the policy's own rate.
            changed: called after each change.
        """
        gui = page.server.gui
        self._presets = {_label(each): each for each in _live_conditions(policy_hz)}
        self._rates = {f"{rate:g}": rate for rate in sorted({*RATES_HZ, policy_hz})}
        self.guard = gui.add_dropdown("Guard", get_args(GuardMode), initial_value=first.guard)
        self.preset = gui.add_dropdown(
            "Condition", tuple(self._presets), hint="Of the robustness suite: sets what follows."
        )
        self.latency = gui.add_slider("Latency, steps", 0, 6, 1, 0)
        self.gain = gui.add_slider("Servo gains ÷", 1.0, 20.0, 0.5, 1.0)
        self.held = gui.add_checkbox(
            "Hold commands", False, hint="Applied in full from the start of a control step."
        )
        self.noise = gui.add_slider("Noise, σ in mm", 0.0, 20.0, 0.5, 0.0)
        self.bias = gui.add_slider("Pose error, mm", 0.0, 20.0, 0.5, 0.0)
        self.rate = gui.add_dropdown(
            "Control rate, Hz", tuple(self._rates), initial_value=f"{policy_hz:g}"
        )

        def tell(_: object) -> None:
            page.post(lambda: changed(self.knobs))

        for control in (
            self.guard, self.latency, self.gain, self.held, self.noise, self.bias, self.rate,
        ):  # fmt: skip
            control.on_update(tell)
        self.preset.on_update(lambda _: page.post(self._take_preset))
        self._policy_hz = policy_hz

    @property
    def knobs(self) -> Knobs:
        """The present settings. Errors of position and axis go together, as in the suite."""
        noise, bias = float(self.noise.value), float(self.bias.value)
        disturbance = Disturbance(
            noise_m=noise / 1e3, noise_deg=noise * DEG_PER_MM,
            bias_m=bias / 1e3, bias_deg=bias * DEG_PER_MM,
            latency_steps=int(self.latency.value),
        )  # fmt: skip
        rate = self._rates[str(self.rate.value)]
        condition = Condition(
            "play", 0, "", 0.0, disturbance, 1 / float(self.gain.value), not self.held.value,
            None if rate == self._policy_hz else rate,
        )  # fmt: skip
        guard: Any = self.guard.value
        return Knobs(condition, guard)

    def _take_preset(self) -> None:
        chosen = self._presets[str(self.preset.value)]
        disturbance = chosen.disturbance
        self.latency.value = disturbance.latency_steps
        self.gain.value = round(1 / chosen.gain_scale, 6)
        self.held.value = not chosen.interpolate
        self.noise.value = disturbance.noise_m * 1e3
        self.bias.value = disturbance.bias_m * 1e3
        self.rate.value = f"{chosen.control_hz or self._policy_hz:g}"


def _live_conditions(policy_hz: float) -> list[Condition]:
    """The suite's conditions that can be set while the arm moves; the user moves the object."""
    return [
        each
        for each in conditions("full", policy_hz)
        if each.move_m == 0 and each.disturbance.start_rad == 0
    ]


def _label(condition: Condition) -> str:
    if condition.family == NOMINAL:
        return condition.label
    return f"{condition.label}: {condition.severity:g}"
