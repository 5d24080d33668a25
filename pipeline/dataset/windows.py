"""Which rows of a flat data set make one training sample. Pure index arithmetic.

    episode   … t-2  t-1   t   t+1  t+2 … t+H-1
    obs            [ t-1   t ]                     n_obs_steps rows, repeated at the start
    action               [ t   t+1  t+2 … t+H-1 ]  horizon rows, the last one repeated at the end

Row 0 of an action chunk is what to command next at observation step t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Index = NDArray[np.int64]


class WindowError(PipelineError):
    """Episodes cannot be cut into windows."""


def episode_starts(episode_ends: Index) -> Index:
    """First row of each episode.

    Args:
        episode_ends: one past the last row of each episode. Shape (E,).

    Raises:
        WindowError: an episode has no rows.
    """
    ends = np.asarray(episode_ends, dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
    if np.any(ends <= starts):
        episode = int(np.argmax(ends <= starts))
        raise WindowError(
            f"episode_ends must rise from above 0; episode {episode} goes from row "
            f"{starts[episode]} to {ends[episode]}"
        )
    return starts


def episode_rows(episode_ends: Index, episodes: Index) -> Index:
    """All rows of some episodes, episode after episode.

    Args:
        episode_ends: one past the last row of each episode. Shape (E,).
        episodes: indices of episodes. Shape (K,).

    Returns:
        Row indices, shape (number of rows,).

    Raises:
        WindowError: an episode has no rows, or there is no such episode.
    """
    rows, _, _ = _expand(episode_ends, episodes)
    return rows


def window_index(
    episode_ends: Index, episodes: Index, n_obs_steps: int, horizon: int
) -> tuple[Index, Index]:
    """Rows of the observations and actions of every window, one window per step.

    Args:
        episode_ends: one past the last row of each episode. Shape (E,).
        episodes: indices of the episodes to use. Shape (K,).
        n_obs_steps: observations of one window.
        horizon: actions of one window.

    Returns:
        Observation rows (W, n_obs_steps) and action rows (W, horizon); W is the number of steps
        of these episodes. No window leaves its episode.

    Raises:
        WindowError: an episode has no rows, there is no such episode, or a length is below 1.
    """
    if n_obs_steps < 1 or horizon < 1:
        raise WindowError(
            f"n_obs_steps {n_obs_steps} and horizon {horizon} must be 1 or more (policy section)"
        )
    rows, first, last = _expand(episode_ends, episodes)
    observation = rows[:, None] + np.arange(1 - n_obs_steps, 1)
    action = rows[:, None] + np.arange(horizon)
    return np.maximum(observation, first[:, None]), np.minimum(action, last[:, None])


def _expand(episode_ends: Index, episodes: Index) -> tuple[Index, Index, Index]:
    """Rows of the episodes, and for each row the first and last row of its episode."""
    starts = episode_starts(episode_ends)
    chosen = np.asarray(episodes, dtype=np.int64)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= len(starts)):
        raise WindowError(
            f"episodes {chosen.min()}..{chosen.max()} asked of {len(starts)} episodes"
        )
    first, ends = starts[chosen], episode_ends[chosen]
    lengths = ends - first
    # Steps count from 0 in each episode: a running count less what came before the episode.
    before = np.cumsum(lengths) - lengths
    steps = np.arange(lengths.sum(), dtype=np.int64) - np.repeat(before, lengths)
    first_of_row = np.repeat(first, lengths)
    return first_of_row + steps, first_of_row, np.repeat(ends - 1, lengths)
