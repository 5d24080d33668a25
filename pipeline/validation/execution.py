"""The execution of a plan: whether it succeeded, when it began, and the motion it was. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.interpolation import hermite
from pipeline.params import IngestParams
from pipeline.recordings.recording import Execution
from pipeline.validation.rules import Motion, Rejected, mend_velocity
from pipeline.validation.segments import align_turns

Array = NDArray[np.float64]
Remark = tuple[str, str, str]
"""Code, value and limit of a finding."""

_GRID_S = 0.01
_COARSE_S = 0.05
# A motion that trails its plan by more than this has another speed: no servo lags so much, s.
_LONGEST_LAG_S = 0.3


@dataclass(frozen=True)
class Onset:
    """How an execution fits its plan in time."""

    delay_s: float
    """From the plan's log time to the start of its execution; negative if that came first."""
    miss_rad: float
    """Largest distance of a measured joint from where plan, delay and lag put it."""


def match_turns(execution: Execution, plan: Motion, continuous: NDArray[np.bool_]) -> Execution:
    """The execution with the turns of continuous joints counted as in the plan.

    Args:
        execution: joints as measured.
        plan: the planned motion.
        continuous: joints that turn without end. Shape (J,).
    """
    if not continuous.any():
        return execution
    both = np.concatenate([execution.joint_pos, execution.final_pos[None]])
    if not np.isfinite(both).all():  # rejected where measured states are needed
        return execution
    both[:, continuous] = np.unwrap(both[:, continuous], axis=0)
    times = np.arange(float(len(both)))
    moved = align_turns(
        Motion(times, both, None, plan.segment, plan.joint_names), plan.joint_pos[0], continuous
    )
    return replace(execution, joint_pos=moved.joint_pos[:-1], final_pos=moved.joint_pos[-1])


def check_execution(plan: Motion, execution: Execution | None, rules: IngestParams) -> None:
    """Reject a plan whose execution was recorded to its end and ended elsewhere.

    Args:
        plan: the planned motion.
        execution: the joints measured meanwhile; None if there are none.
        rules: section `ingest` of params.yaml.

    Raises:
        Rejected: the execution ended elsewhere.
    """
    if execution is None or execution.t[-1] < plan.t[-1]:
        return  # not recorded, or cut short by the next plan
    seen = np.concatenate([execution.joint_pos, execution.final_pos[None]])
    moved = np.ptp(seen, axis=0).max() >= rules.min_motion_rad
    # Samples after the plan's duration. The last one always counts: the execution may be late.
    settled = np.concatenate([execution.t >= plan.t[-1], [True]])
    miss = np.abs(seen[settled] - plan.joint_pos[-1]).max(axis=1).min()
    if moved and miss > rules.execution_tolerance_rad:
        raise _failed(f"ended {miss:.4f} rad away", rules)


def executed_motion(
    plan: Motion, execution: Execution | None, rules: IngestParams, *, same_clock: bool
) -> tuple[Motion, Array, list[Remark]]:
    """The motion that was executed and its command.

    An execution that begins later than `execution_delay_s` after its plan (or that long before) is
    aligned: the plan is moved to the onset, and samples before it are dropped. A shorter delay
    cannot be told from the servo's own and stays in the data.

    Args:
        plan: the planned motion, at times from its log time.
        execution: the joints measured meanwhile; None if there are none.
        rules: section `ingest` of params.yaml.
        same_clock: whether plan and execution are samples of the same messages, so that nothing
            needs aligning.

    Returns:
        The measured motion of N samples, the commanded positions (N, J) in rad, and remarks on its
        velocities and its delay.

    Raises:
        Rejected: too few samples, a number that is not finite, or a motion that is not the plan's.
    """
    if execution is None or len(execution.t) < rules.min_points:
        number = 0 if execution is None else len(execution.t)
        raise Rejected(
            "EXECUTION_FAILED", f"{number} joint states", f"{rules.min_points} during the plan"
        )
    if not np.isfinite(execution.joint_pos).all():
        raise Rejected("NONFINITE", "a measured joint position", "finite numbers")
    miss = float(np.abs(execution.joint_pos[-1] - plan.joint_pos[-1]).max())
    if miss > rules.execution_tolerance_rad:
        raise _failed(f"ended {miss:.4f} rad away", rules)
    delay_s, remarks = 0.0, []
    if not same_clock:
        onset = estimate_onset(plan, execution)
        if onset.miss_rad > rules.execution_tolerance_rad:
            raise _failed(
                f"{onset.miss_rad:.4f} rad off the plan at best, if it began {onset.delay_s:.3f} s "
                "after it",
                rules,
            )
        if abs(onset.delay_s) > rules.execution_delay_s:
            delay_s = onset.delay_s
            value = f"{delay_s:.3f} s after the plan"
            remarks.append(("EXECUTION_DELAYED", value, f"{rules.execution_delay_s} s"))
    moving = slice(max(0, int(np.searchsorted(execution.t, delay_s)) - 1) if delay_s else 0, None)
    t, position = execution.t[moving], execution.joint_pos[moving]
    if len(t) < rules.min_points:
        raise Rejected(
            "EXECUTION_FAILED", f"{len(t)} joint states", f"{rules.min_points} during the plan"
        )
    recorded = execution.joint_vel[moving]
    # Measured velocities lag and are filtered, so they need not fit the positions.
    velocity, remark = mend_velocity(
        t, position, recorded if np.isfinite(recorded).all() else None, np.inf
    )
    command, _ = hermite(plan.t, plan.joint_pos, plan.velocity, t - delay_s)
    measured = Motion(t, position, velocity, plan.segment, plan.joint_names)
    return measured, command, remarks if remark is None else [remark, *remarks]


def estimate_onset(plan: Motion, execution: Execution) -> Onset:
    """The delay with which the plan fits the measured joints best.

    The servo is modelled as a first-order lag, and the sum of squared distances is minimised. A
    delay and a lag change the curvature of the motion differently, so both can be estimated.

    Args:
        plan: the planned motion, at times from its log time.
        execution: the joints measured meanwhile.
    """
    # Importing these takes half a second, and plans need neither.
    from scipy.optimize import least_squares
    from scipy.signal import lfilter

    end_s = float(execution.t[-1])
    grid = np.arange(0.0, plan.t[-1] + end_s + _GRID_S, _GRID_S)
    reference, _ = hermite(plan.t, plan.joint_pos, plan.velocity, grid)
    travel = reference - reference[0]

    def miss(delay_s: float, lag_s: float) -> Array:
        stay = np.exp(-_GRID_S / lag_s) if lag_s > 0 else 0.0
        path = reference[0] + lfilter([1 - stay], [1, -stay], travel, axis=0)
        at = execution.t - delay_s
        columns = [np.interp(at, grid, joint) for joint in path.T]
        distance: Array = np.stack(columns, axis=1) - execution.joint_pos
        return distance

    earliest_s = -float(plan.t[-1]) / 2
    shifts = np.arange(earliest_s, end_s, _COARSE_S)
    start = min(shifts, key=lambda shift: float((miss(shift, 0.0) ** 2).sum()))
    fit = least_squares(
        lambda x: miss(x[0], x[1]).ravel(),
        (start, _GRID_S),
        bounds=((earliest_s - _COARSE_S, 0.0), (end_s, _LONGEST_LAG_S)),
        xtol=1e-4,
        ftol=1e-4,
    )
    return Onset(float(fit.x[0]), float(np.abs(miss(*fit.x)).max()))


def _failed(value: str, rules: IngestParams) -> Rejected:
    return Rejected("EXECUTION_FAILED", value, f"{rules.execution_tolerance_rad} rad")
