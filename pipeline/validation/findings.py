"""Findings on trajectories and recordings: their codes, and a hint for each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

HINTS = {
    "BAG_EMPTY": "record the topics of ingest.plan_topic, joint_topic and object_topic",
    "BAG_TRUNCATED": "the recorder was killed: set ingest.salvage for an .mcap file; for a .db3 "
    "file `sqlite3 FILE .recover` may save it",
    "BAG_UNREADABLE": "check the file with `ros2 bag info`; copy it again",
    "COMMAND_DERIVED": "only measured joints were recorded: the command is taken to be where the "
    "joints went; record plans or the controller's state for better labels",
    "CUSP": "velocities contradict positions at few points only; there they were differentiated",
    "DECODE_ERROR": "record with definitions embedded (mcap), or with a supported distribution",
    "DUPLICATE": "the data hold the same demonstration already; nothing to do",
    "EXECUTION_DELAYED": "the arm began to move long after its plan was published (or before): the "
    "commands were shifted to its motion; see ingest.execution_delay_s",
    "EXECUTION_FAILED": "the arm did not follow the plan to its end: look at the controller's log; "
    "raise ingest.settle_s if it began late",
    "FILE_UNREADABLE": "see the message; copy or convert the file again",
    "FRAME_UNRESOLVED": "record /tf and /tf_static, publish the pose in the robot's base frame, or "
    "add a frame that coincides with it to ingest.object_frames",
    "JOINT_MISSING": "plan with all of robot.joints, or correct robot.joints or "
    "ingest.joint_prefix",
    "LIMIT_VIOLATION": "check the URDF's limits, or raise ingest.limit_tolerance_rad",
    "MULTI_DOF": "plan for the arm alone; joints with several degrees of freedom are not supported",
    "NONFINITE": "the recording holds NaN or infinity: look at its publisher",
    "NO_MOTION": "the arm was at the goal already; lower ingest.min_motion_rad to keep it",
    "NPZ_UNREADABLE": "expected joint_positions, timestamps, the object's position and axis",
    "OBJECT_POSE_MISSING": "publish ingest.object_topic before planning, name the object's frame "
    "in ingest.object_frame, or its fixed pose in ingest.object_pose",
    "OBJECT_POSE_STALE": "publish ingest.object_topic more often, or raise ingest.object_max_age_s",
    "OBSTACLE_FRAME_UNRESOLVED": "record /tf and /tf_static, add a frame that coincides with the "
    "base to ingest.object_frames, or name objects without meaning in ingest.obstacle_ignore",
    "OBSTACLE_INVALID": "an object of the planning scene has sizes of 0 or less, or numbers that "
    "are not finite: look at its publisher, or name it in ingest.obstacle_ignore",
    "OBSTACLE_UNSUPPORTED": "the episode does not hold this part of the planning scene; add boxes "
    "that cover it if the arm can reach it",
    "QUAT_NORM": "publish a unit quaternion (or axis) as the object's orientation",
    "SALVAGED": "the recording was cut off: this was read from what is left of it",
    "SEGMENT_GAP": "segments of one plan must meet; raise ingest.segment_gap_rad if they nearly "
    "do, or set ingest.segment_gaps to split",
    "SUSPECT_DEGREES": "joints must be in radians; these look like degrees",
    "TIME_ALL_ZERO": "add time parameterisation to the planning pipeline",
    "TIME_DERIVED": "the recording carries no times of its own: see derived in the provenance",
    "TIME_NOT_INCREASING": "time_from_start must rise from point to point",
    "TOO_SHORT": "the trajectory has too few points; see ingest.min_points",
    "TYPE_UNKNOWN": "the topic carries another type than expected; name another topic in ingest",
    "VEL_DERIVED": "velocities were missing and were differentiated from positions",
    "VEL_INCONSISTENT": "velocities contradict positions and were differentiated from them",
    "WRAP_JUMP": "a joint jumps by about a turn: publish unwrapped joint positions",
}


BAD_FILES = {"BAG_TRUNCATED", "BAG_UNREADABLE", "FILE_UNREADABLE", "NPZ_UNREADABLE"}
"""Codes that concern a file as a whole: it could not be read, or not to its end."""


@dataclass(frozen=True)
class Finding:
    """A rejection or a warning: what was found in a trajectory or in a whole recording."""

    code: str
    """One of HINTS."""
    source: str
    """Recording, as given by the user."""
    message: int | None
    """Index of the message; None for the whole recording."""
    segment: int | None
    """Index of the trajectory in the message; None for the whole message."""
    value: str
    """What was found."""
    limit: str
    """What was expected."""
