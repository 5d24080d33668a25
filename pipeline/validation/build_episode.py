"""Judges a recorded plan with its context: the draft of an episode, or why not. Pure.

Owns every rule by which a trajectory is taken, mended or left out, one at a time; `batch` does so
for many. Knows nothing of files; limits are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode, Provenance
from pipeline.interpolation import hermite
from pipeline.params import IngestParams
from pipeline.recordings.recording import Candidate, Execution, ObjectPose, Plan, Source
from pipeline.validation.findings import Finding
from pipeline.validation.rules import (
    Motion,
    Rejected,
    align_turns,
    check_motion,
    idle_ends,
    mend_velocity,
    merge_segments,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """What judging a trajectory needs to know of the arm."""

    joints: tuple[str, ...]
    """Names of the J joints in the order of the episode."""
    lower: Array
    """Least positions, rad. Shape (J,)."""
    upper: Array
    """Largest positions, rad. Shape (J,)."""
    continuous: NDArray[np.bool_]
    """Joints that turn without end. Shape (J,)."""
    sliding: NDArray[np.bool_]
    """Joints whose positions are m, and whose speeds are m/s. Shape (J,)."""
    fk: Callable[[Array], Array]
    """Poses of the TCP at joint positions (N, J): (N, 7), m and quaternion xyzw, each in the
    hemisphere of the home pose's."""


@dataclass(frozen=True)
class Draft:
    """An episode without the TCP's poses, which are computed for many episodes at once."""

    t: Array
    """s, from 0. Shape (T,)."""
    joint_pos: Array
    """rad. Shape (T, J)."""
    joint_vel: Array
    """rad/s. Shape (T, J)."""
    joint_command: Array
    """rad. Shape (T, J)."""
    place: tuple[Array, Array]
    """Position and unit axis of the object."""
    provenance: Provenance
    findings: tuple[Finding, ...]
    """Warnings."""


@dataclass(frozen=True)
class Verdict:
    """An episode and what to say about it, or only the latter."""

    episode: Episode | None
    findings: tuple[Finding, ...]
    """Warnings where there is an episode, else the one reason for leaving it out."""


def assemble(
    candidate: Candidate, source: Source, arm: Arm, rules: IngestParams
) -> list[Draft | Verdict]:
    """Judge one plan, or one motion that was measured.

    The plan becomes the episode (`state: planned`), or the joints measured while it was executed
    do, with the plan as their command (`state: measured`, and training data). A plan that was never
    executed is still a demonstration where the plan itself is asked for; one whose execution ended
    elsewhere is not.

    Args:
        candidate: the plan and its context.
        source: the recording it comes from.
        arm: joints, limits, forward kinematics.
        rules: section `ingest` of params.yaml.

    Returns:
        One draft, or the verdict why there is none; several where a plan's segments do not meet
        and are split.
    """
    plan = candidate.plan
    try:
        place = object_place(candidate.object_pose, plan.log_time_ns, rules)
        motions = merge_segments(plan.segments, arm.joints, arm.continuous, rules)
    except Rejected as reason:
        return [_rejection(reason, source, plan)]
    # What was measured meanwhile belongs to the plan as a whole.
    execution = candidate.execution if len(motions) == 1 else None
    verdicts: list[Draft | Verdict] = []
    for motion in motions:
        try:
            verdicts.append(_judge(motion, execution, candidate, place, source, arm, rules))
        except Rejected as reason:
            verdicts.append(_rejection(reason, source, plan))
    return verdicts


def _rejection(reason: Rejected, source: Source, plan: Plan) -> Verdict:
    finding = Finding(
        reason.code, source.path, plan.message, reason.segment, reason.value, reason.limit
    )
    return Verdict(None, (finding,))


def _judge(
    motion: Motion,
    execution: Execution | None,
    candidate: Candidate,
    place: tuple[Array, Array],
    source: Source,
    arm: Arm,
    rules: IngestParams,
) -> Draft:
    """The episode that a motion is.

    Raises:
        Rejected: it breaks a rule.
    """
    plan, findings = candidate.plan, reserves(candidate, source)
    check_motion(motion, arm.lower, arm.upper, arm.sliding, rules)
    # Measured velocities lag and are filtered, so they are not held against the positions.
    tolerance = np.inf if plan.measured else rules.velocity_tolerance_rad_s
    velocity, finding = mend_velocity(motion.t, motion.joint_pos, motion.joint_vel, tolerance)
    actual = Motion(motion.t, motion.joint_pos, velocity, motion.segment, motion.joint_names)
    command = actual.joint_pos
    if execution is not None:
        execution = _turned(execution, actual, arm)
        check_execution(actual, execution, rules)
    if (rules.state == "measured" or candidate.keeps_states) and not plan.measured:
        actual, command, finding = _measured(actual, execution, rules)
    if finding is not None:
        findings = [*findings, finding]
    derived = [*candidate.derived, "pose by FK"]
    if finding is not None:
        derived.append("velocity differentiated")
    kept = slice(0, len(actual.t))
    # A plan has no idle ends, and its execution has its window: until the servo has settled.
    if plan.sampled:
        kept = idle_ends((actual.joint_pos, command), rules.trim_idle_rad)
    if kept.stop - kept.start < rules.min_points:
        kept = slice(0, len(actual.t))
    elif kept.stop - kept.start < len(actual.t):
        derived.append("idle ends cut off")
    return Draft(
        t=actual.t[kept] - actual.t[kept.start],
        joint_pos=actual.joint_pos[kept],
        joint_vel=actual.velocity[kept],
        joint_command=command[kept],
        place=place,
        provenance=origin(source, plan, motion.segment, motion.joint_names, tuple(derived)),
        findings=warnings(findings, source, plan, motion.segment),
    )


def origin(
    source: Source, plan: Plan, segment: int, names: tuple[str, ...], derived: tuple[str, ...]
) -> Provenance:
    """Where an episode comes from.

    Args:
        source: the recording.
        plan: the plan or measured motion.
        segment: index of its trajectory in the message.
        names: joints as the recording names them.
        derived: what was computed instead of read.
    """
    return Provenance(
        source=source.path,
        sha256=source.sha256,
        storage=source.storage,
        topic=plan.topic,
        message=plan.message,
        segment=segment,
        log_time_ns=plan.log_time_ns,
        joint_names=names,
        derived=derived,
        salvaged=source.salvaged,
    )


def warnings(
    found: list[tuple[str, str, str]], source: Source, plan: Plan, segment: int
) -> tuple[Finding, ...]:
    """What to say of an episode that is taken.

    Args:
        found: code, value and limit of each.
        source: the recording.
        plan: the plan or measured motion.
        segment: index of its trajectory in the message.
    """
    return tuple(
        Finding(code, source.path, plan.message, segment, value, limit)
        for code, value, limit in found
    )


def reserves(candidate: Candidate, source: Source) -> list[tuple[str, str, str]]:
    """What to say of an episode because of where it comes from: code, value, limit.

    Args:
        candidate: the plan and its context.
        source: the recording.
    """
    found = []
    if source.salvaged:
        found.append(("SALVAGED", "read from a damaged recording", "a whole recording"))
    if candidate.plan.measured:
        found.append(("COMMAND_DERIVED", "measured joints alone", "a plan or a command"))
    invented = [what for what in candidate.derived if what.startswith("times ")]
    if invented:
        found.append(("TIME_DERIVED", invented[0], "times of the publisher"))
    return found


def _turned(execution: Execution, plan: Motion, arm: Arm) -> Execution:
    """An execution whose continuous joints count their turns as the plan does."""
    if not arm.continuous.any():
        return execution
    both = np.concatenate([execution.joint_pos, execution.final_pos[None]])
    if not np.isfinite(both).all():  # whoever asks for measured states will be told
        return execution
    both[:, arm.continuous] = np.unwrap(both[:, arm.continuous], axis=0)
    times = np.arange(float(len(both)))
    moved = align_turns(
        Motion(times, both, None, plan.segment, plan.joint_names), plan.joint_pos[0], arm.continuous
    )
    return replace(execution, joint_pos=moved.joint_pos[:-1], final_pos=moved.joint_pos[-1])


def object_place(
    pose: ObjectPose | None, plan_time_ns: int, rules: IngestParams
) -> tuple[Array, Array]:
    """Position and unit axis of the object.

    Args:
        pose: as recorded; None where it was not.
        plan_time_ns: log time of the plan.
        rules: section `ingest` of params.yaml.

    Raises:
        Rejected: there is none, it is too old, in another frame, or no pose.
    """
    if pose is None:
        raise Rejected("OBJECT_POSE_MISSING", "none before the plan", rules.object_topic)
    age_s = (plan_time_ns - pose.log_time_ns) * 1e-9
    if not pose.ageless and age_s > rules.object_max_age_s:
        raise Rejected("OBJECT_POSE_STALE", f"{age_s:.3f} s", f"{rules.object_max_age_s} s")
    # An empty frame is refused too: it would be a guess, and a wrong one moves every object.
    if pose.frame_id.lstrip("/") not in rules.object_frames:
        raise Rejected("FRAME_UNRESOLVED", repr(pose.frame_id), ", ".join(rules.object_frames))
    # Python's own floats: for so few numbers an array costs ten times as much.
    numbers = [*pose.position.tolist(), *pose.orientation.tolist()]
    if not all(map(math.isfinite, numbers)):
        raise Rejected("NONFINITE", f"object pose {numbers}", "finite numbers")
    norm = math.hypot(*numbers[3:])
    if abs(norm - 1) > rules.quaternion_tolerance:
        raise Rejected("QUAT_NORM", f"{norm:.6f}", f"1 ± {rules.quaternion_tolerance}")
    axis = [value / norm for value in numbers[3:]]
    if len(axis) == 4:
        x, y, z, w = axis
        # Third column of the quaternion's rotation matrix: where its z axis points.
        axis = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
    length = math.hypot(*axis)
    return np.array(numbers[:3]), np.array([value / length for value in axis])


def check_execution(plan: Motion, execution: Execution | None, rules: IngestParams) -> None:
    """Refuse a plan whose execution was recorded to its end and ended elsewhere.

    Args:
        plan: the planned motion.
        execution: what was measured meanwhile.
        rules: section `ingest` of params.yaml.

    Raises:
        Rejected: it ended elsewhere.
    """
    if execution is None or execution.t[-1] < plan.t[-1]:
        return  # not recorded, or cut short by the next plan: nothing can be said
    seen = np.concatenate([execution.joint_pos, execution.final_pos[None]])
    moved = np.ptp(seen, axis=0).max() >= rules.min_motion_rad
    # After the plan's duration; the last sample of all counts too, for an execution begun late.
    settled = np.concatenate([execution.t >= plan.t[-1], [True]])
    miss = np.abs(seen[settled] - plan.joint_pos[-1]).max(axis=1).min()
    if moved and miss > rules.execution_tolerance_rad:
        raise Rejected(
            "EXECUTION_FAILED", f"ended {miss:.4f} rad away", f"{rules.execution_tolerance_rad} rad"
        )


def _measured(
    plan: Motion, execution: Execution | None, rules: IngestParams
) -> tuple[Motion, Array, tuple[str, str, str] | None]:
    """The executed motion, its command, and what to say of its velocities."""
    if execution is None or len(execution.t) < rules.min_points:
        number = 0 if execution is None else len(execution.t)
        raise Rejected(
            "EXECUTION_FAILED", f"{number} joint states", f"{rules.min_points} during the plan"
        )
    if not np.isfinite(execution.joint_pos).all():
        raise Rejected("NONFINITE", "a measured joint position", "finite numbers")
    miss = float(np.abs(execution.joint_pos[-1] - plan.joint_pos[-1]).max())
    if miss > rules.execution_tolerance_rad:
        raise Rejected(
            "EXECUTION_FAILED", f"ended {miss:.4f} rad away", f"{rules.execution_tolerance_rad} rad"
        )
    recorded = execution.joint_vel if np.isfinite(execution.joint_vel).all() else None
    # Measured velocities lag and are filtered, so they are not held against the positions.
    velocity, finding = mend_velocity(execution.t, execution.joint_pos, recorded, np.inf)
    command, _ = hermite(plan.t, plan.joint_pos, plan.velocity, execution.t)
    measured = Motion(execution.t, execution.joint_pos, velocity, plan.segment, plan.joint_names)
    return measured, command, finding
