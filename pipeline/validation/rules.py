"""One joint motion out of a plan's segments, and the rules that it must keep. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.interpolation import limited_derivative
from pipeline.params import IngestParams
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import Segment

Array = NDArray[np.float64]

# Way-points this close in time and place are one way-point written twice.
SAME_S = 1e-9
_SAME_RAD = 1e-9
# A joint beyond this is taken for degrees where radians would fit its limits, rad.
_SUSPICIOUS_RAD = 2 * np.pi
# At most this share of intervals with contradicting velocities is a cusp in an otherwise good plan.
_CUSP_SHARE = 0.05
# Codes of `mend_velocity`.
DERIVED_VELOCITY = ("VEL_DERIVED", "VEL_INCONSISTENT", "CUSP")


class Rejected(Exception):  # noqa: N818 - a verdict, caught by assemble, no error of the program
    """A trajectory is left out."""

    def __init__(self, code: str, value: str, limit: str, segment: int | None = None) -> None:
        """Say why.

        Args:
            code: one of `findings.HINTS`.
            value: what was found.
            limit: what was expected.
            segment: index of the trajectory in its message, where it matters.
        """
        super().__init__(f"{code}: {value}, expected {limit}")
        self.code, self.value, self.limit, self.segment = code, value, limit, segment


@dataclass(frozen=True)
class Motion:
    """Joints over time, P points of J joints in the arm's order."""

    t: Array
    """s, strictly increasing. Shape (P,)."""
    joint_pos: Array
    """rad. Shape (P, J)."""
    joint_vel: Array | None
    """rad/s, shape (P, J); None where nobody said."""
    segment: int
    """Index of the first segment that moves the arm."""
    joint_names: tuple[str, ...]
    """As that segment names them, in its order."""

    @property
    def velocity(self) -> Array:
        """Velocities, differentiated where nobody said. Shape (P, J)."""
        return (
            limited_derivative(self.t, self.joint_pos) if self.joint_vel is None else self.joint_vel
        )


def merge_segments(
    segments: Sequence[Segment],
    joints: tuple[str, ...],
    continuous: NDArray[np.bool_],
    rules: IngestParams,
) -> list[Motion]:
    """Pick the arm's joints out of each segment and join segments whose ends meet.

    Segments that move none of the arm's joints, such as a gripper's, are passed over.

    Args:
        segments: trajectories of one plan, in order.
        joints: the arm's joints.
        continuous: joints that turn without end, whose turns are taken out. Shape (J,).
        rules: section `ingest` of params.yaml.

    Returns:
        One motion, or several where ends do not meet and `segment_gaps` is split.

    Raises:
        Rejected: joints are missing, numbers are not finite, times do not rise, ends do not meet.
    """
    named = sorted({name for segment in segments for name in segment.joint_names})
    found = [
        find_joints(segment.joint_names, joints, rules.joint_prefix)[0] is not None
        or bool(set(segment.joint_names) & set(joints))
        for segment in segments
    ]
    if named and not any(found) and not any(segment.multi_dof for segment in segments):
        why = find_joints(named, joints, rules.joint_prefix)[1]
        value = f"only {', '.join(named)}" if why.startswith("without") else why
        raise Rejected("JOINT_MISSING", value, ", ".join(joints))
    parts = [
        _unwrapped(_arm_part(segment, index, joints, rules.joint_prefix), continuous)
        for index, (segment, own) in enumerate(zip(segments, found, strict=True))
        if segment.multi_dof or own
    ]
    parts = [part for part in parts if len(part.t)]
    if not parts:
        raise Rejected("TOO_SHORT", "0 points", f"{rules.min_points} points")
    merged = [parts[0]]
    for part in parts[1:]:
        before = merged[-1]
        part = align_turns(part, before.joint_pos[-1], continuous)  # noqa: PLW2901
        gap = float(np.abs(part.joint_pos[0] - before.joint_pos[-1]).max())
        if gap <= rules.segment_gap_rad:
            merged[-1] = _append(before, part)
        elif rules.segment_gaps == "split":
            merged.append(part)
        else:
            limit = f"{rules.segment_gap_rad} rad"
            raise Rejected("SEGMENT_GAP", f"{gap:.4f} rad", limit, part.segment)
    return merged


def _unwrapped(motion: Motion, continuous: NDArray[np.bool_]) -> Motion:
    """The motion without jumps of a turn in joints that turn without end."""
    if not continuous.any() or not len(motion.t):
        return motion
    position = motion.joint_pos.copy()
    position[:, continuous] = np.unwrap(position[:, continuous], axis=0)
    return replace(motion, joint_pos=position)


def align_turns(motion: Motion, pose: Array, continuous: NDArray[np.bool_]) -> Motion:
    """The motion moved by whole turns of continuous joints so that it starts near a pose.

    Args:
        motion: whose turns are taken out already.
        pose: rad. Shape (J,).
        continuous: joints that turn without end. Shape (J,).
    """
    turns = np.where(continuous, np.round((pose - motion.joint_pos[0]) / (2 * np.pi)), 0.0)
    return motion if not turns.any() else replace(
        motion, joint_pos=motion.joint_pos + 2 * np.pi * turns
    )  # fmt: skip


def _arm_part(segment: Segment, index: int, joints: tuple[str, ...], prefix: str | None) -> Motion:
    if segment.multi_dof:
        raise Rejected("MULTI_DOF", "a trajectory of multi-DOF joints", "revolute joints", index)
    columns, why = find_joints(segment.joint_names, joints, prefix)
    if columns is None:
        raise Rejected("JOINT_MISSING", why, ", ".join(joints), index)
    t, position = segment.t, segment.joint_pos[:, columns]
    velocity = None if segment.joint_vel is None else segment.joint_vel[:, columns]
    if not (np.isfinite(t).all() and np.isfinite(position).all()):
        point = int(np.argmax(~(np.isfinite(t) & np.isfinite(position).all(axis=1))))
        raise Rejected("NONFINITE", f"time or position of point {point}", "finite numbers", index)
    if len(t) > 1:
        if not t.any():
            raise Rejected("TIME_ALL_ZERO", f"{len(t)} points at 0 s", "rising times", index)
        rise = np.diff(t)
        again = (np.abs(rise) <= SAME_S) & (
            np.abs(np.diff(position, axis=0)).max(axis=1) <= _SAME_RAD
        )
        keep = np.concatenate([[True], ~again])
        t, position = t[keep], position[keep]
        velocity = None if velocity is None else velocity[keep]
        if np.any(np.diff(t) <= 0):
            point = int(np.argmax(np.diff(t) <= 0)) + 1
            value = f"{t[point]:.9g} s after {t[point - 1]:.9g} s"
            raise Rejected("TIME_NOT_INCREASING", value, "rising times", index)
    return Motion(t, position, velocity, index, segment.joint_names)


def _append(first: Motion, second: Motion) -> Motion:
    """Join at the pose where both meet, which stands in both and is kept once."""
    t = np.concatenate([first.t, first.t[-1] + second.t[1:] - second.t[0]])
    position = np.concatenate([first.joint_pos, second.joint_pos[1:]])
    velocity = None
    if first.joint_vel is not None and second.joint_vel is not None:
        velocity = np.concatenate([first.joint_vel, second.joint_vel[1:]])
    return Motion(t, position, velocity, first.segment, first.joint_names)


def check_motion(
    motion: Motion, lower: Array, upper: Array, sliding: NDArray[np.bool_], rules: IngestParams
) -> None:
    """Refuse a motion that no arm should learn from.

    Args:
        motion: the planned motion.
        lower: least positions, rad. Shape (J,).
        upper: largest positions, rad. Shape (J,).
        sliding: joints whose positions are m. Shape (J,).
        rules: section `ingest` of params.yaml.

    Raises:
        Rejected: points are too few, or positions break a rule.
    """
    position, segment = motion.joint_pos, motion.segment
    if len(motion.t) < rules.min_points:
        limit = f"{rules.min_points} points"
        raise Rejected("TOO_SHORT", f"{len(motion.t)} points", limit, segment)
    excess = np.maximum(lower - position, position - upper)
    if excess.max() > rules.limit_tolerance_rad:
        _refuse_excess(motion, excess, lower, upper, sliding, rules)
    jump = float(np.abs(np.diff(position, axis=0)).max())
    if jump > rules.wrap_jump_rad:
        raise Rejected("WRAP_JUMP", f"{jump:.4f} rad", f"{rules.wrap_jump_rad} rad", segment)
    span = float(np.ptp(position, axis=0).max())
    if span < rules.min_motion_rad:
        raise Rejected("NO_MOTION", f"{span:.6f} rad", f"{rules.min_motion_rad} rad", segment)


def _refuse_excess(
    motion: Motion,
    excess: Array,
    lower: Array,
    upper: Array,
    sliding: NDArray[np.bool_],
    rules: IngestParams,
) -> None:
    position, segment = motion.joint_pos, motion.segment
    point, joint = np.unravel_index(int(np.argmax(excess)), excess.shape)
    unit = "m" if sliding[joint] else "rad"
    largest = float(np.abs(np.where(sliding, 0.0, position)).max())
    radians = np.where(sliding, position, np.deg2rad(position))
    tolerance = rules.limit_tolerance_rad
    if largest > _SUSPICIOUS_RAD and np.all(
        (radians >= lower - tolerance) & (radians <= upper + tolerance)
    ):
        raise Rejected("SUSPECT_DEGREES", f"{largest:.2f}", "radians", segment)
    value = f"{position[point, joint]:.5f} {unit} at point {point}, joint {joint + 1}"
    limit = f"{lower[joint]:.5f} … {upper[joint]:.5f} {unit}"
    raise Rejected("LIMIT_VIOLATION", value, limit, segment)


def mend_velocity(
    t: Array, position: Array, velocity: Array | None, tolerance_rad_s: float
) -> tuple[Array, tuple[str, str, str] | None]:
    """Velocities that fit the positions.

    Args:
        t: strictly increasing times, s. Shape (P,).
        position: rad. Shape (P, J).
        velocity: as recorded, rad/s, shape (P, J), or None.
        tolerance_rad_s: how far the mean of two velocities may lie from the slope between.

    Returns:
        Velocities (P, J), and code, value and limit of a finding where they were differentiated.
    """
    if velocity is None or not np.isfinite(velocity).all():
        value = "no velocities" if velocity is None else "velocities that are not finite"
        return limited_derivative(t, position), ("VEL_DERIVED", value, "finite velocities")
    slope = np.diff(position, axis=0) / np.diff(t)[:, None]
    miss = np.abs((velocity[1:] + velocity[:-1]) / 2 - slope).max(axis=1)
    bad = miss > tolerance_rad_s
    if not bad.any():
        return velocity, None
    limit = f"{tolerance_rad_s} rad/s"
    derived = limited_derivative(t, position)
    if bad.mean() > _CUSP_SHARE:
        return derived, ("VEL_INCONSISTENT", f"{miss.max():.4f} rad/s off", limit)
    first = int(np.argmax(bad))
    value = (
        f"{miss.max():.4f} rad/s off in {bad.sum()} of {len(bad)} intervals, at {t[first]:.3f} s"
    )
    either = np.concatenate([bad, [False]]) | np.concatenate([[False], bad])
    return np.where(either[:, None], derived, velocity), ("CUSP", value, limit)


def idle_ends(paths: Sequence[Array], idle_rad: float) -> slice:
    """The samples without the starts and ends in which nothing moves; all where nothing ever does.

    Args:
        paths: joint positions at the same T times, rad, such as the measured and the commanded.
            Shape (T, J) each.
        idle_rad: a joint nearer than this to its first (last) position does not move yet (any
            more), rad; 0 keeps everything.

    Returns:
        From the last sample before the motion to the first after it.
    """
    steps = len(paths[0])
    if not idle_rad:
        return slice(0, steps)
    left = np.zeros(steps, np.bool_)
    right = np.zeros(steps, np.bool_)
    for path in paths:
        left |= np.abs(path - path[0]).max(axis=1) > idle_rad
        right |= np.abs(path - path[-1]).max(axis=1) > idle_rad
    if not left.any() or not right.any():
        return slice(0, steps)
    first = max(0, int(np.argmax(left)) - 1)
    last = min(steps - 1, steps - int(np.argmax(right[::-1])))
    return slice(first, last + 1)
