"""Turns recorded samples into control steps: time grid, interpolation, labels. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.interpolation import hermite

if TYPE_CHECKING:
    from pipeline.dataset.episode import Episode

Array = NDArray[np.float64]

# A duration this close to a whole number of steps is that number, in steps.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Steps:
    """An episode at the control rate: K steps, including those that hold the last pose."""

    joint_pos: Array
    """rad. Shape (K, J)."""
    joint_vel: Array
    """rad/s. Shape (K, J)."""
    joint_command: Array
    """rad. Shape (K, J)."""


def step_times(duration_s: float, rate_hz: float) -> Array:
    """Times of the control steps: k / rate, and last the end of the episode.

    Args:
        duration_s: length of the episode, s.
        rate_hz: control rate, Hz.

    Returns:
        Strictly increasing times from 0 to `duration_s`; only the last interval may be shorter
        than a period.
    """
    periods = max(int(np.ceil(duration_s * rate_hz - _ROUNDING)), 1)
    times = np.arange(periods + 1) / rate_hz
    times[-1] = duration_s
    return times


def resample(episode: Episode, rate_hz: float, hold_steps: int) -> Steps:
    """Resample an episode to the control rate, and hold its last pose at rest.

    Args:
        episode: the demonstration.
        rate_hz: control rate, Hz.
        hold_steps: steps at rest after the end.
    """
    times = step_times(episode.duration_s, rate_hz)
    position, velocity = hermite(episode.t, episode.joint_pos, episode.joint_vel, times)
    # The lead of the command is smooth, and zero where only a plan was recorded.
    lead = episode.joint_command - episode.joint_pos
    columns = [np.interp(times, episode.t, lead[:, joint]) for joint in range(lead.shape[1])]
    command = position + np.stack(columns, axis=1)
    command[-1] = episode.joint_command[-1]
    rest = np.zeros((hold_steps, position.shape[1]))
    return Steps(
        joint_pos=np.concatenate([position, rest + position[-1]]),
        joint_vel=np.concatenate([velocity, rest]),
        joint_command=np.concatenate([command, rest + command[-1]]),
    )


def label(joint_command: Array, labels: Literal["next_step", "same_step"]) -> Array:
    """Actions: the joint positions to command at each step.

    Args:
        joint_command: commanded positions by step, rad. Shape (K, J).
        labels: next_step takes the command of the step after and repeats the last one; same_step
            takes the command of the step itself, so a policy can learn to stand still.

    Returns:
        Actions, rad. Shape (K, J).
    """
    if labels == "same_step":
        return joint_command.copy()
    return np.concatenate([joint_command[1:], joint_command[-1:]])
