"""Turns a recorded plan with its context into the draft of an episode, or rejects it. Pure.

Knows nothing of files. `build_batch` does the same for many plans at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode, Provenance
from pipeline.params import IngestParams
from pipeline.recordings.recording import Candidate, Execution, ObjectPose, Plan, Source
from pipeline.validation.execution import Remark, check_execution, executed_motion, match_turns
from pipeline.validation.findings import Finding
from pipeline.validation.obstacles import obstacle_remarks, require_obstacles
from pipeline.validation.rules import (
    DERIVED_VELOCITY,
    Motion,
    Rejected,
    check_motion,
    idle_ends,
    mend_velocity,
)
from pipeline.validation.segments import merge_segments

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """The properties of the arm that validation needs."""

    joints: tuple[str, ...]
    """Names of the J joints in the order of the episode."""
    lower: Array
    """Smallest positions, rad. Shape (J,)."""
    upper: Array
    """Largest positions, rad. Shape (J,)."""
    continuous: NDArray[np.bool_]
    """Joints that turn without end. Shape (J,)."""
    sliding: NDArray[np.bool_]
    """Prismatic joints: their positions are in m, their speeds in m/s. Shape (J,)."""
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
    obstacles: Array
    """Rows of `pipeline.obstacles`. Shape (M, 12)."""
    provenance: Provenance
    findings: tuple[Finding, ...]
    """Warnings."""


@dataclass(frozen=True)
class Result:
    """An episode with its warnings, or the reason why there is none."""

    episode: Episode | None
    findings: tuple[Finding, ...]
    """Warnings if there is an episode, else the one reason for its rejection."""


def build_drafts(
    candidate: Candidate, source: Source, arm: Arm, rules: IngestParams
) -> list[Draft | Result]:
    """Validate one plan, or one motion that was measured.

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
        One draft, or the result that says why there is none; several if the plan's segments do not
        meet and are split.
    """
    plan = candidate.plan
    try:
        place = object_place(candidate.object_pose, plan.log_time_ns, rules)
        motions = merge_segments(plan.segments, arm.joints, arm.continuous, rules)
    except Rejected as reason:
        return [_rejection(reason, source, plan)]
    # The measured joints belong to the plan as a whole.
    execution = candidate.execution if len(motions) == 1 else None
    drafts: list[Draft | Result] = []
    for motion in motions:
        try:
            drafts.append(build_draft(motion, candidate, execution, place, source, arm, rules))
        except Rejected as reason:
            drafts.append(_rejection(reason, source, plan))
    return drafts


def _rejection(reason: Rejected, source: Source, plan: Plan) -> Result:
    finding = Finding(
        reason.code, source.path, plan.message, reason.segment, reason.value, reason.limit
    )
    return Result(None, (finding,))


def build_draft(
    motion: Motion,
    candidate: Candidate,
    execution: Execution | None,
    place: tuple[Array, Array],
    source: Source,
    arm: Arm,
    rules: IngestParams,
    *,
    checked: bool = False,
) -> Draft:
    """Make the draft of an episode from a motion.

    Args:
        motion: the planned or measured motion.
        candidate: the plan and its context.
        execution: the joints measured meanwhile; None if there are none.
        place: position and unit axis of the object.
        source: the recording.
        arm: joints, limits, forward kinematics.
        rules: section `ingest` of params.yaml.
        checked: whether the motion is known to keep the rules and its velocities fit.

    Raises:
        Rejected: it breaks a rule.
    """
    obstacles = require_obstacles(candidate.obstacles)
    plan, remarks = candidate.plan, source_remarks(candidate, source)
    velocity, remark = motion.velocity, None
    if not checked:
        check_motion(motion, arm.lower, arm.upper, arm.sliding, rules)
        # Measured velocities lag and are filtered, so they need not fit the positions.
        tolerance = np.inf if plan.measured else rules.velocity_tolerance_rad_s
        velocity, remark = mend_velocity(motion.t, motion.joint_pos, motion.joint_vel, tolerance)
    own = [] if remark is None else [remark]
    actual = Motion(motion.t, motion.joint_pos, velocity, motion.segment, motion.joint_names)
    command = actual.joint_pos
    if execution is not None:
        execution = match_turns(execution, actual, arm.continuous)
        check_execution(actual, execution, rules)
    if (rules.state == "measured" or candidate.keeps_states) and not plan.measured:
        actual, command, own = executed_motion(actual, execution, rules, same_clock=plan.sampled)
    derived = [*candidate.derived, "pose by FK"]
    if any(code in DERIVED_VELOCITY for code, _, _ in own):
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
        obstacles=obstacles,
        provenance=make_provenance(source, plan, motion, tuple(derived)),
        findings=make_findings([*remarks, *own], source, plan, motion.segment),
    )


def make_provenance(
    source: Source, plan: Plan, motion: Motion, derived: tuple[str, ...]
) -> Provenance:
    """The provenance of an episode.

    Args:
        source: the recording.
        plan: the plan or measured motion.
        motion: its joint motion.
        derived: what was computed instead of read.
    """
    return Provenance(
        source=source.path,
        sha256=source.sha256,
        storage=source.storage,
        topic=plan.topic,
        message=plan.message,
        segment=motion.segment,
        log_time_ns=plan.log_time_ns,
        joint_names=motion.joint_names,
        derived=derived,
        salvaged=source.salvaged,
    )


def make_findings(
    remarks: Iterable[Remark], source: Source, plan: Plan, segment: int
) -> tuple[Finding, ...]:
    """The warnings of an episode.

    Args:
        remarks: code, value and limit of each.
        source: the recording.
        plan: the plan or measured motion.
        segment: index of its trajectory in the message.
    """
    return tuple(
        Finding(code, source.path, plan.message, segment, value, limit)
        for code, value, limit in remarks
    )


def source_remarks(candidate: Candidate, source: Source) -> list[Remark]:
    """Remarks that follow from how an episode was recorded.

    Args:
        candidate: the plan and its context.
        source: the recording.
    """
    found = []
    if source.salvaged:
        found.append(("SALVAGED", "read from a damaged recording", "a whole recording"))
    if candidate.plan.measured:
        found.append(("COMMAND_DERIVED", "measured joints alone", "a plan or a command"))
    times = [entry for entry in candidate.derived if entry.startswith("times ")]
    if times:
        found.append(("TIME_DERIVED", times[0], "times of the publisher"))
    return [*found, *obstacle_remarks(candidate.obstacles)]


def object_place(
    pose: ObjectPose | None, plan_time_ns: int, rules: IngestParams
) -> tuple[Array, Array]:
    """Position and unit axis of the object.

    Args:
        pose: as recorded; None if there is none.
        plan_time_ns: log time of the plan.
        rules: section `ingest` of params.yaml.

    Raises:
        Rejected: the pose is missing, too old, in another frame, or not a pose.
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
