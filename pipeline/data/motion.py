"""One joint motion out of a plan's segments, and the rules that it must keep. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.recording import Segment
from pipeline.data.resample import differentiate
from pipeline.params import IngestParams

Array = NDArray[np.float64]

# Way-points this close in time and place are one way-point written twice.
_SAME_S = 1e-9
_SAME_RAD = 1e-9
# A joint beyond this is taken for degrees where radians would fit its limits, rad.
_SUSPICIOUS_RAD = 2 * np.pi


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
        return differentiate(self.t, self.joint_pos) if self.joint_vel is None else self.joint_vel


def merge_segments(
    segments: Sequence[Segment], joints: tuple[str, ...], rules: IngestParams
) -> Motion:
    """Pick the arm's joints out of each segment and join segments whose ends meet.

    Segments that move none of the arm's joints, such as a gripper's, are passed over.

    Args:
        segments: trajectories of one plan, in order.
        joints: the arm's joints.
        rules: section `ingest` of params.yaml.

    Raises:
        Rejected: joints are missing, numbers are not finite, times do not rise, ends do not meet.
    """
    named = sorted({name for segment in segments for name in segment.joint_names})
    if named and not set(named) & set(joints):
        raise Rejected("JOINT_MISSING", f"only {', '.join(named)}", ", ".join(joints))
    parts = [
        _arm_part(segment, index, joints)
        for index, segment in enumerate(segments)
        if segment.multi_dof or set(segment.joint_names) & set(joints)
    ]
    parts = [part for part in parts if len(part.t)]
    if not parts:
        raise Rejected("TOO_SHORT", "0 points", f"{rules.min_points} points")
    merged = parts[0]
    for part in parts[1:]:
        gap = float(np.abs(part.joint_pos[0] - merged.joint_pos[-1]).max())
        if gap > rules.segment_gap_rad:
            limit = f"{rules.segment_gap_rad} rad"
            raise Rejected("SEGMENT_GAP", f"{gap:.4f} rad", limit, part.segment)
        merged = _append(merged, part)
    return merged


def _arm_part(segment: Segment, index: int, joints: tuple[str, ...]) -> Motion:
    if segment.multi_dof:
        raise Rejected("MULTI_DOF", "a trajectory of multi-DOF joints", "revolute joints", index)
    missing = [name for name in joints if name not in segment.joint_names]
    if missing:
        raise Rejected("JOINT_MISSING", f"without {', '.join(missing)}", ", ".join(joints), index)
    columns = [segment.joint_names.index(name) for name in joints]
    t, position = segment.t, segment.joint_pos[:, columns]
    velocity = None if segment.joint_vel is None else segment.joint_vel[:, columns]
    if not (np.isfinite(t).all() and np.isfinite(position).all()):
        point = int(np.argmax(~(np.isfinite(t) & np.isfinite(position).all(axis=1))))
        raise Rejected("NONFINITE", f"time or position of point {point}", "finite numbers", index)
    if len(t) > 1:
        if not t.any():
            raise Rejected("TIME_ALL_ZERO", f"{len(t)} points at 0 s", "rising times", index)
        rise = np.diff(t)
        again = (np.abs(rise) <= _SAME_S) & (
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


def check_motion(motion: Motion, lower: Array, upper: Array, rules: IngestParams) -> None:
    """Refuse a motion that no arm should learn from.

    Args:
        motion: the planned motion.
        lower: least positions, rad. Shape (J,).
        upper: largest positions, rad. Shape (J,).
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
        _refuse_excess(position, excess, lower, upper, rules, segment)
    jump = float(np.abs(np.diff(position, axis=0)).max())
    if jump > rules.wrap_jump_rad:
        raise Rejected("WRAP_JUMP", f"{jump:.4f} rad", f"{rules.wrap_jump_rad} rad", segment)
    span = float(np.ptp(position, axis=0).max())
    if span < rules.min_motion_rad:
        raise Rejected("NO_MOTION", f"{span:.6f} rad", f"{rules.min_motion_rad} rad", segment)


def _refuse_excess(
    position: Array, excess: Array, lower: Array, upper: Array, rules: IngestParams, segment: int
) -> None:
    point, joint = np.unravel_index(int(np.argmax(excess)), excess.shape)
    largest = float(np.abs(position).max())
    radians = np.deg2rad(position)
    tolerance = rules.limit_tolerance_rad
    if largest > _SUSPICIOUS_RAD and np.all(
        (radians >= lower - tolerance) & (radians <= upper + tolerance)
    ):
        raise Rejected("SUSPECT_DEGREES", f"{largest:.2f}", "radians", segment)
    value = f"{position[point, joint]:.5f} rad at point {point}, joint {joint + 1}"
    limit = f"{lower[joint]:.5f} … {upper[joint]:.5f} rad"
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
        return differentiate(t, position), ("VEL_DERIVED", value, "finite velocities")
    slope = np.diff(position, axis=0) / np.diff(t)[:, None]
    miss = float(np.abs((velocity[1:] + velocity[:-1]) / 2 - slope).max())
    if miss > tolerance_rad_s:
        finding = ("VEL_INCONSISTENT", f"{miss:.4f} rad/s off", f"{tolerance_rad_s} rad/s")
        return differentiate(t, position), finding
    return velocity, None
