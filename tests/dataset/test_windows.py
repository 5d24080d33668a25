"""Windows never leave their episode and hold the rows of the drawing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset.windows import WindowError, episode_rows, episode_starts, window_index

lengths_of_episodes = st.lists(st.integers(1, 12), min_size=1, max_size=8)


@st.composite
def cuts(draw):
    ends = np.cumsum(draw(lengths_of_episodes)).astype(np.int64)
    episodes = draw(st.lists(st.integers(0, len(ends) - 1), unique=True, max_size=len(ends)))
    return ends, np.array(episodes, np.int64), draw(st.integers(1, 4)), draw(st.integers(1, 20))


@given(cuts())
def test_windows_never_cross_an_episode_and_there_is_one_a_step(cut):
    ends, episodes, n_obs_steps, horizon = cut
    observation, action = window_index(ends, episodes, n_obs_steps, horizon)
    owner = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    starts = episode_starts(ends)
    window = 0
    for episode in episodes:
        for step in range(starts[episode], ends[episode]):
            assert set(owner[observation[window]]) == {episode} == set(owner[action[window]])
            expected_obs = [max(starts[episode], step - k) for k in range(n_obs_steps)][::-1]
            expected_act = [min(ends[episode] - 1, step + k) for k in range(horizon)]
            assert observation[window].tolist() == expected_obs
            assert action[window].tolist() == expected_act
            window += 1
    assert observation.shape == (window, n_obs_steps)
    assert action.shape == (window, horizon)
    assert observation.dtype == action.dtype == np.int64


@given(cuts())
def test_rows_of_episodes_are_the_last_observations_of_their_windows(cut):
    ends, episodes, n_obs_steps, horizon = cut
    observation, action = window_index(ends, episodes, n_obs_steps, horizon)
    np.testing.assert_array_equal(observation[:, -1], episode_rows(ends, episodes))
    np.testing.assert_array_equal(action[:, 0], episode_rows(ends, episodes))


@pytest.mark.parametrize("ends", [[0, 3], [3, 3], [4, 2], [-1]])
def test_episodes_without_rows_are_refused(ends):
    with pytest.raises(WindowError, match="episode_ends must rise"):
        episode_starts(np.array(ends))


@pytest.mark.parametrize("episodes", [[-1], [2]])
def test_unknown_episodes_are_refused(episodes):
    with pytest.raises(WindowError, match="asked of 2 episodes"):
        episode_rows(np.array([2, 4]), np.array(episodes))


def test_lengths_below_one_are_refused():
    with pytest.raises(WindowError, match="horizon 0"):
        window_index(np.array([2]), np.array([0]), 1, 0)
