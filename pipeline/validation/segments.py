"""The joint motion in a plan's segments: the arm's joints picked out, and segments joined. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.params import IngestParams
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import Segment
from pipeline.validation.rules import SAME_S, Motion, Rejected

Array = NDArray[np.float64]

# A way-point with the time and the place of the one before is the same one, written twice.
_SAME_RAD = 1e-9


def merge_segments(
    segments: Sequence[Segment],
    joints: tuple[str, ...],
    continuous: NDArray[np.bool_],
    rules: IngestParams,
) -> list[Motion]:
    """Pick the arm's joints out of each segment and join segments whose ends meet.

    Segments that move none of the arm's joints, such as a gripper's, are skipped.

    Args:
        segments: trajectories of one plan, in order.
        joints: the arm's joints.
        continuous: joints that turn without end, whose turns are removed. Shape (J,).
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
        motion: whose turns are removed already.
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
    """Join two motions at the pose where they meet, which is kept once."""
    t = np.concatenate([first.t, first.t[-1] + second.t[1:] - second.t[0]])
    position = np.concatenate([first.joint_pos, second.joint_pos[1:]])
    velocity = None
    if first.joint_vel is not None and second.joint_vel is not None:
        velocity = np.concatenate([first.joint_vel, second.joint_vel[1:]])
    return Motion(t, position, velocity, first.segment, first.joint_names)
