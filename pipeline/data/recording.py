"""What a recording says, before anybody judges it: plans, joint states, object poses. Pure.

Readers of bags and npz files make these; `collate` brings together what belongs to one plan, and
`assemble` turns that into an episode or says why not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """A recording on disk."""

    path: str
    """As the user named it."""
    sha256: str
    """Hash of its bytes."""
    storage: str
    """mcap, sqlite3 or npz."""


@dataclass(frozen=True)
class Segment:
    """One joint trajectory of a plan, with P points of K joints."""

    joint_names: tuple[str, ...]
    t: Array = field(repr=False)
    """Times from the segment's own start, s. Shape (P,)."""
    joint_pos: Array = field(repr=False)
    """rad. Shape (P, K)."""
    joint_vel: Array | None = field(repr=False)
    """rad/s, shape (P, K); None where the points carry none."""
    multi_dof: bool = False
    """Whether the segment moves joints with several degrees of freedom, such as a mobile base."""


@dataclass(frozen=True)
class Plan:
    """A planned motion: moveit_msgs/msg/DisplayTrajectory."""

    topic: str
    message: int
    """Index among the messages of its topic, from 0."""
    log_time_ns: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class JointSample:
    """Measured joints: sensor_msgs/msg/JointState."""

    log_time_ns: int
    joint_names: tuple[str, ...]
    joint_pos: Array = field(repr=False)
    """rad. Shape (K,)."""
    joint_vel: Array | None = field(repr=False)
    """rad/s, shape (K,); None where the message carries none."""


@dataclass(frozen=True)
class ObjectPose:
    """Where the object lies: geometry_msgs/msg/PoseStamped, or an npz file's position and axis."""

    log_time_ns: int
    frame_id: str
    position: Array
    """m. Shape (3,)."""
    orientation: Array
    """Quaternion xyzw, shape (4,), whose z is the object's axis; or that axis, shape (3,)."""


@dataclass(frozen=True)
class Unreadable:
    """A message or a topic that could not be understood."""

    topic: str
    message: int | None
    """Index among the messages of its topic; None where the whole topic is meant."""
    code: str
    """DECODE_ERROR or TYPE_UNKNOWN."""
    value: str
    """What was found."""


Event = Plan | JointSample | ObjectPose | Unreadable


@dataclass(frozen=True)
class Execution:
    """Joints measured while a plan was executed: N samples of the arm's J joints."""

    t: Array = field(repr=False)
    """Times since the plan's log time, strictly increasing, s. Shape (N,)."""
    joint_pos: Array = field(repr=False)
    """rad. Shape (N, J)."""
    joint_vel: Array = field(repr=False)
    """rad/s, NaN where none was recorded. Shape (N, J)."""
    final_pos: Array = field(repr=False)
    """Last joints seen before the next plan, rad. Shape (J,)."""


@dataclass(frozen=True)
class Candidate:
    """A plan with all that belongs to it."""

    plan: Plan
    object_pose: ObjectPose | None
    """The latest at or before the plan's log time."""
    execution: Execution | None
