"""What a recording says, before anybody judges it: plans, joint states, object poses. Pure.

Readers make these; `collate` and `cut` bring together what belongs to one motion, and `assemble`
turns that into an episode or says why not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Array = NDArray[np.float64]


class RecordingError(PipelineError):
    """A recording cannot be read."""

    def __init__(self, message: str, code: str = "FILE_UNREADABLE") -> None:
        """Say what happened.

        Args:
            message: file, value, what was expected, what to do.
            code: one of `findings.HINTS`.
        """
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Source:
    """A recording on disk."""

    path: str
    """As the user named it."""
    sha256: str
    """Hash of its bytes."""
    storage: str
    """mcap, sqlite3, ros1, npz, dump, zarr or lerobot."""
    salvaged: bool = False
    """Whether the recording is damaged and only its readable part is read."""

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.path)


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
    """A planned motion, or one that was measured and never planned."""

    topic: str
    message: int
    """Index among the messages of its topic, from 0."""
    log_time_ns: int
    segments: tuple[Segment, ...]
    measured: bool = False
    """Whether the segments are joints as they were measured: nobody recorded a command."""
    sampled: bool = False
    """Whether the points are samples of a motion that ran, which may begin and end idle, instead
    of a planner's way-points."""


@dataclass(frozen=True)
class JointSample:
    """Measured joints: sensor_msgs/msg/JointState."""

    log_time_ns: int
    joint_names: tuple[str, ...]
    joint_pos: Array = field(repr=False)
    """rad. Shape (K,)."""
    joint_vel: Array | None = field(repr=False)
    """rad/s, shape (K,); None where the message carries none."""
    stamp_ns: int = 0
    """Time at which the publisher measured them; 0 where it does not say."""
    topic: str = ""
    message: int = 0
    """Index among the messages of its topic, from 0."""


@dataclass(frozen=True)
class TrackingSample:
    """Where a controller wants the joints and where they are, K of them."""

    topic: str
    message: int
    """Index among the messages of its topic, from 0."""
    log_time_ns: int
    stamp_ns: int
    """Time of the controller's update; 0 where it does not say."""
    goal: str
    """Identity of the action's goal; empty for a controller's state."""
    joint_names: tuple[str, ...]
    desired_pos: Array = field(repr=False)
    """rad. Shape (K,)."""
    desired_vel: Array | None = field(repr=False)
    """rad/s, shape (K,); None where the message carries none."""
    actual_pos: Array = field(repr=False)
    """rad. Shape (K,)."""
    actual_vel: Array | None = field(repr=False)
    """rad/s, shape (K,); None where the message carries none."""


@dataclass(frozen=True)
class Mark:
    """Somebody said that an episode begins, ends, or that the next one begins."""

    log_time_ns: int
    kind: Literal["start", "end", "next"]


@dataclass(frozen=True)
class Transform:
    """Where one frame lies in another: geometry_msgs/msg/TransformStamped."""

    parent: str
    child: str
    translation: Array
    """m. Shape (3,)."""
    rotation: Array
    """Quaternion xyzw. Shape (4,)."""


@dataclass(frozen=True)
class Transforms:
    """One message of /tf or /tf_static."""

    log_time_ns: int
    static: bool
    """Whether they hold for all times."""
    transforms: tuple[Transform, ...]


@dataclass(frozen=True)
class ObjectPose:
    """Where the object lies."""

    log_time_ns: int
    frame_id: str
    position: Array
    """m. Shape (3,)."""
    orientation: Array
    """Quaternion xyzw, shape (4,), whose z is the object's axis; or that axis, shape (3,)."""
    ageless: bool = False
    """Whether it holds for all times: a static transform, or a pose of params.yaml."""


@dataclass(frozen=True)
class Unreadable:
    """A message or a topic that could not be understood."""

    topic: str
    message: int | None
    """Index among the messages of its topic; None where the whole topic is meant."""
    code: str
    """DECODE_ERROR, JOINT_MISSING or TYPE_UNKNOWN."""
    value: str
    """What was found."""


Event = Plan | JointSample | TrackingSample | Mark | Transforms | ObjectPose | Unreadable


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
    derived: tuple[str, ...] = ()
    """What a reader had to compute instead of reading it, for instance times from a frame rate."""
