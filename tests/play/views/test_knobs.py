"""Controls set the disturbances of the robustness suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.evaluation.disturbance import Disturbance
from pipeline.evaluation.robustness import Condition, conditions
from pipeline.play.simulation import Knobs
from pipeline.play.views.knobs import KnobControls

if TYPE_CHECKING:
    from pipeline.play.page import Page


@pytest.fixture
def told() -> list[Knobs]:
    return []


@pytest.fixture
def controls(page: Page, told: list[Knobs]) -> KnobControls:
    return KnobControls(page, Knobs(Condition("", 0, ""), "repair"), 30.0, told.append)


def test_each_knob_alone(page: Page, controls: KnobControls, told: list[Knobs]) -> None:
    controls.latency.value, controls.gain.value, controls.held.value = 2, 10.0, True
    controls.noise.value, controls.rate.value, controls.guard.value = 5.0, "50", "off"
    page.frame()
    condition = told[-1].condition
    assert condition.disturbance == Disturbance(noise_m=0.005, noise_deg=2.0, latency_steps=2)
    assert (condition.gain_scale, condition.interpolate) == (pytest.approx(0.1), False)
    assert (condition.control_hz, told[-1].guard) == (50.0, "off")
    controls.rate.value = "30"
    page.frame()
    assert told[-1].condition.control_hz is None


def test_a_condition_of_the_suite_sets_all_knobs(
    page: Page, controls: KnobControls, told: list[Knobs]
) -> None:
    fitting = [
        each
        for each in conditions("full", 30.0)
        if each.move_m == 0 and each.disturbance.start_rad == 0
    ]
    assert len(controls.preset.options) == len(fitting) > 15
    for label, each in zip(controls.preset.options, fitting, strict=True):
        controls.preset.value = label
        page.frame()
        # Setting the knobs asks for changes, which the next frame makes.
        page.frame()
        condition = controls.knobs.condition
        assert condition.disturbance == each.disturbance, label
        assert condition.gain_scale == pytest.approx(each.gain_scale)
        assert (condition.interpolate, condition.control_hz) == (each.interpolate, each.control_hz)
