"""How smooth the commands are, especially where one chunk follows another. Pure.

N rollouts, T control steps, J joints.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.rollout import Rollouts

Array = NDArray[np.float64]


def velocity_jumps(command: Array, rate_hz: float) -> Array:
    """Changes of the commanded velocity from one control step to the next.

    Args:
        command: rad. Shape (N, T, J).
        rate_hz: commands a second.

    Returns:
        rad/s; the k-th is the change that command k + 2 brings. Shape (N, T − 2, J).
    """
    return np.asarray(np.diff(command, n=2, axis=1) * rate_hz)


def execution_summary(rollouts: Rollouts, rate_hz: float) -> dict[str, Any]:
    """Statistics of how the chunks were executed.

    Args:
        rollouts: with their execution.
        rate_hz: control steps a second.

    Returns:
        JSON numbers: commands sent and how many of them limits changed, by kind; root mean square
        of the velocity's jump where a chunk began and where none did, and their ratio (None where
        there was no such step, or no motion); root mean square jerk. Empty for fixed commands.
    """
    report = rollouts.execution
    if report is None:
        return {}
    jumps = velocity_jumps(rollouts.command, rate_hz)
    border = report.border[:, 2:]
    at_border, inside = _root_mean_square(jumps[border]), _root_mean_square(jumps[~border])
    return {
        "commands": report.commands,
        "clipped": report.clipped,
        "largest_change_rad": report.largest_change_rad,
        "starved_steps": report.starved_steps,
        "border_jump_rad_s": at_border,
        "inside_jump_rad_s": inside,
        "jump_ratio": at_border / inside if at_border is not None and inside else None,
        "rms_jerk_rad_s3": metrics.root_mean_square_jerk(rollouts.command, rate_hz),
    }


def _root_mean_square(values: Array) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if values.size else None
