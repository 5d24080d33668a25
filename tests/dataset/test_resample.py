"""Interpolation is exact where it can be; the grid ends where the episode ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset.resample import label, resample, step_times

increasing_times = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8).map(
    lambda gaps: np.concatenate([[0.0], np.cumsum(gaps)])
)


@given(st.floats(1e-3, 1e3), st.floats(1.0, 200.0))
def test_steps_are_periods_apart_and_end_with_the_episode(duration_s, rate_hz):
    times = step_times(duration_s, rate_hz)
    assert times[0] == 0
    assert times[-1] == duration_s
    gaps = np.diff(times)
    assert np.all(gaps > 0)
    np.testing.assert_allclose(gaps[:-1], 1 / rate_hz, rtol=1e-6)
    assert gaps[-1] <= (1 + 2e-6) / rate_hz


@pytest.mark.parametrize(("duration_s", "expected"), [(1.0, 31), (1.0 + 1e-9, 31), (1.01, 32)])
def test_a_duration_of_whole_periods_has_no_shorter_last_step(duration_s, expected):
    assert len(step_times(duration_s, 30.0)) == expected


@pytest.mark.parametrize("rate_hz", [7.0, 10.0, 30.0, 125.0])
@pytest.mark.parametrize("hold_steps", [0, 5])
def test_an_episode_ends_in_its_last_pose_and_holds_it_at_rest(episode, rate_hz, hold_steps):
    demonstration = episode()
    steps = resample(demonstration, rate_hz, hold_steps)
    moving = len(step_times(demonstration.duration_s, rate_hz))
    assert steps.joint_pos.shape == (moving + hold_steps, 6)
    np.testing.assert_array_equal(steps.joint_pos[0], demonstration.joint_pos[0])
    last = np.broadcast_to(demonstration.joint_pos[-1], (hold_steps + 1, 6))
    np.testing.assert_array_equal(steps.joint_pos[moving - 1 :], last)
    np.testing.assert_array_equal(steps.joint_vel[moving:], 0.0)
    np.testing.assert_array_equal(steps.joint_command, steps.joint_pos)


def test_a_command_leads_the_measured_position_and_ends_in_its_own_last_pose(episode):
    position = episode().joint_pos
    lead = np.linspace(0.02, 0.01, 13)[:, None] * np.ones(6)
    steps = resample(episode(joint_command=position + lead), 20.0, 2)
    times = step_times(1.2, 20.0)
    expected = np.interp(times, np.linspace(0, 1.2, 13), lead[:, 0])
    moving = len(times)
    gap = steps.joint_command[:moving] - steps.joint_pos[:moving]
    np.testing.assert_allclose(gap, expected[:, None] * np.ones(6), atol=1e-12)
    np.testing.assert_array_equal(
        steps.joint_command[moving:], np.tile(position[-1] + 0.01, (2, 1))
    )


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_next_step_labels_are_the_commands_of_the_steps_after(length, seed):
    command = np.random.default_rng(seed).normal(size=(length, 2))
    action = label(command, "next_step")
    np.testing.assert_array_equal(action[:-1], command[1:])
    np.testing.assert_array_equal(action[-1], command[-1])
    np.testing.assert_array_equal(label(command, "same_step"), command)
