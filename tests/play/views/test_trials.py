"""Evaluated trials are chosen from a list and simulated again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("viser", reason="the extra `play` is not installed")

from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.play.trial_runs import Trial, TrialError, TrialRunner
from pipeline.play.views.trials import TrialsView
from pipeline.runtime.session import RobotPolicy

if TYPE_CHECKING:
    from pipeline.play.page import Page
    from pipeline.play.scene import Scene


@pytest.fixture
def listed(trials: Trials) -> list[Trial]:
    return [
        Trial(number, trials.object_pos[index], trials.object_axis[index], 25.0, 1.0, False,
              False, "wrong mode", np.zeros((0, 12)))
        for index, number in enumerate((12, 4))
    ]  # fmt: skip


@pytest.fixture
def runner(params: Params, policy: RobotPolicy) -> TrialRunner:
    return TrialRunner(params, policy, 60)


def test_the_worst_trial_comes_first_and_another_can_be_chosen(
    page: Page, scene: Scene, runner: TrialRunner, listed: list[Trial]
) -> None:
    view = TrialsView(page, scene, runner, listed, None)
    page.choose({"Trials": view}, "Trials")
    page.frame()
    assert "Trial 12" in view.status and "wrong mode" in view.status
    # This policy reaches it, so it ends elsewhere than was recorded.
    assert "ends elsewhere than recorded" in view.status and "25.0 mm" in view.status
    view.player.seek(0.0)
    page.frame()
    first = view.status
    view.player.seek(2.0)
    page.frame()
    assert view.status != first, "the error is that of the slider's time"
    view.chooser.value = view.chooser.options[1]
    page.frame()
    assert "Trial 4" in view.status
    assert scene.object_pose[0] == pytest.approx(listed[1].object_pos)


def test_a_trial_can_be_asked_for(
    page: Page, scene: Scene, runner: TrialRunner, listed: list[Trial]
) -> None:
    view = TrialsView(page, scene, runner, listed, 4)
    page.choose({"Trials": view}, "Trials")
    page.frame()
    assert "Trial 4" in view.status
    assert np.allclose(scene.object_pose[0], listed[1].object_pos)
    view.show(False)
    assert not page.server.scene._handle_from_node_name["/lines/motion"].visible
    with pytest.raises(TrialError, match=r"--trial 7: .* expected one of 4 to 12"):
        TrialsView(page, scene, runner, listed, 7)
