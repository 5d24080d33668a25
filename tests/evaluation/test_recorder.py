"""The recorder keeps what happened, and offers past observations of it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.disturbance import UNDISTURBED, Sensor
from pipeline.evaluation.recorder import Recorder
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.runtime.pose_filter import ObjectFilter


@pytest.fixture
def recorder(loop: Loop, trials: Trials) -> Recorder:
    start = np.tile(loop.model.home, (3, 1))
    sensor = Sensor(UNDISTURBED, [np.random.default_rng(0)] * 3)
    return Recorder(loop.model, loop.layout, start, sensor, ObjectFilter(loop.execution), trials)


def test_what_was_added_is_returned(recorder: Recorder, loop: Loop) -> None:
    home = loop.model.home
    joint_pos = home + np.arange(6.0).reshape(1, 6, 1) * np.full((3, 1, 6), 0.01)
    for step in range(6):
        part = joint_pos[:, step : step + 1]
        recorder.add(part + 0.001, part, np.zeros_like(part), np.repeat(part, 4, axis=1))
    measured, command, pose, motion = recorder.motion()
    assert np.array_equal(measured, joint_pos)
    assert command == pytest.approx(joint_pos + 0.001)
    assert pose[..., :3] == pytest.approx(loop.model.fk(joint_pos)[..., :3])
    assert motion.shape == (3, 25, 6), "the start and four physics steps of each control step"


def test_past_observations_are_interpolated_and_at_rest_before_the_start(
    recorder: Recorder, loop: Loop
) -> None:
    home = loop.model.home
    for step in (1, 2):
        now = np.tile(home + 0.1 * step, (3, 1, 1))
        recorder.add(now, now, np.zeros_like(now), now)
    seen = recorder.observation(np.array([9.0, 1.5, 1.0, 0.0]))[:, :, :6]
    expected = home + np.array([0.0, 0.05, 0.1, 0.2])[:, None]
    assert seen == pytest.approx(np.tile(expected, (3, 1, 1)), abs=1e-6)
