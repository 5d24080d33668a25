"""The content of a recording before it is validated: plans, joints, objects, obstacles. Pure.

Readers yield messages. `synchronize` and `segment` combine those of one motion into a candidate,
which the validation turns into an episode or rejects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.recordings.scene_messages import SceneChange

Array = NDArray[np.float64]


class RecordingError(PipelineError):
    """A recording cannot be read."""

    def __init__(self, message: str, code: str = "FILE_UNREADABLE") -> None:
        """Create the error.

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
    """As given by the user."""
    sha256: str
    """Hash of its bytes."""
    storage: str
    """mcap, sqlite3, ros1, npz, dump, zarr or lerobot."""
    salvaged: bool = False
    """Whether the recording is damaged and only its readable part is read."""

    @property
    def file(self) -> Path:
        """The recording's file or folder."""
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
    """rad/s, shape (P, K); None if a point has no velocities."""
    multi_dof: bool = False
    """Whether the segment moves joints with several degrees of freedom, such as a mobile base."""


@dataclass(frozen=True)
class Plan:
    """A planned motion, or a measured one for which no plan was recorded."""

    topic: str
    message: int
    """Index among the messages of its topic, from 0."""
    log_time_ns: int
    segments: tuple[Segment, ...]
    measured: bool = False
    """Whether the segments are measured joints: no command was recorded."""
    sampled: bool = False
    """Whether the points are samples of a motion that ran, which may begin and end at rest, instead
    of a planner's way-points."""


@dataclass(frozen=True)
class JointSample:
    """Measured joints: sensor_msgs/msg/JointState."""

    log_time_ns: int
    joint_names: tuple[str, ...]
    joint_pos: Array = field(repr=False)
    """rad. Shape (K,)."""
    joint_vel: Array | None = field(repr=False)
    """rad/s, shape (K,); None if the message has none."""
    stamp_ns: int = 0
    """Time of the measurement; 0 if the publisher gives none."""
    topic: str = ""
    message: int = 0
    """Index among the messages of its topic, from 0."""


@dataclass(frozen=True)
class TrackingSample:
    """Desired and actual positions of a controller's K joints."""

    topic: str
    message: int
    """Index among the messages of its topic, from 0."""
    log_time_ns: int
    stamp_ns: int
    """Time of the controller's update; 0 if the controller gives none."""
    goal: str
    """Identity of the action's goal; empty for a controller's state."""
    joint_names: tuple[str, ...]
    desired_pos: Array = field(repr=False)
    """rad. Shape (K,)."""
    desired_vel: Array | None = field(repr=False)
    """rad/s, shape (K,); None if the message has none."""
    actual_pos: Array = field(repr=False)
    """rad. Shape (K,)."""
    actual_vel: Array | None = field(repr=False)
    """rad/s, shape (K,); None if the message has none."""


@dataclass(frozen=True)
class Mark:
    """A mark that an episode begins, that it ends, or that the next one begins."""

    log_time_ns: int
    kind: Literal["start", "end", "next"]


@dataclass(frozen=True)
class Transform:
    """The pose of one frame in another: geometry_msgs/msg/TransformStamped."""

    parent: str
    child: str
    translation: Array
    """m. Shape (3,)."""
    rotation: Array
    """Quaternion xyzw. Shape (4,)."""
    stamp_ns: int = 0
    """Time of the transform; 0 if the publisher gives none."""


@dataclass(frozen=True)
class Transforms:
    """One message of /tf or /tf_static."""

    log_time_ns: int
    static: bool
    """Whether the transforms hold for all times."""
    transforms: tuple[Transform, ...]


@dataclass(frozen=True)
class ObjectPose:
    """The pose of the object."""

    log_time_ns: int
    frame_id: str
    position: Array
    """m. Shape (3,)."""
    orientation: Array
    """Quaternion xyzw, shape (4,), whose z axis is the object's axis; or that axis, shape (3,)."""
    ageless: bool = False
    """Whether the pose holds for all times: by a static transform, or from params.yaml."""
    stamp_ns: int = 0
    """Time at which the object was seen; 0 if the publisher gives none."""


@dataclass(frozen=True)
class Unreadable:
    """A message or a topic that cannot be read."""

    topic: str
    message: int | None
    """Index among the messages of its topic; None for the whole topic."""
    code: str
    """DECODE_ERROR, JOINT_MISSING or TYPE_UNKNOWN."""
    value: str
    """What was found."""


@dataclass(frozen=True)
class Obstacles:
    """The obstacles around the arm from one time on."""

    log_time_ns: int
    rows: Array = field(repr=False)
    """Rows of `pipeline.obstacles` in the base frame. Shape (M, 12)."""
    unresolved: tuple[str, ...] = ()
    """Objects in frames that are not known."""
    invalid: tuple[str, ...] = ()
    """Shapes whose numbers are unusable, and their objects."""
    unsupported: tuple[str, ...] = ()
    """What cannot be expressed as an obstacle, and its object."""


Message = (
    Plan | JointSample | TrackingSample | Mark | Transforms | ObjectPose | SceneChange | Obstacles
    | Unreadable
)  # fmt: skip


@dataclass(frozen=True)
class Execution:
    """Joints measured while a plan was executed: N samples of the arm's J joints."""

    t: Array = field(repr=False)
    """Times since the plan's log time, strictly increasing, s. Shape (N,)."""
    joint_pos: Array = field(repr=False)
    """rad. Shape (N, J)."""
    joint_vel: Array = field(repr=False)
    """rad/s, NaN for samples without velocities. Shape (N, J)."""
    final_pos: Array = field(repr=False)
    """Last joints measured before the next plan, rad. Shape (J,)."""


@dataclass(frozen=True)
class Candidate:
    """A plan with the object's pose and its execution."""

    plan: Plan
    object_pose: ObjectPose | None
    """The latest one before the motion; None if there is none."""
    execution: Execution | None
    derived: tuple[str, ...] = ()
    """What a reader computed instead of reading it, for instance times from a frame rate."""
    keeps_states: bool = False
    """Whether the execution becomes the episode even if `ingest.state` is planned: training data
    hold measured states, and the plan is only their command."""
    obstacles: Obstacles | None = None
    """The latest ones before the motion; None if none were recorded."""
