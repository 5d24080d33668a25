"""One demonstration: its arrays over time and its provenance. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.obstacles import COLUMNS

Array = NDArray[np.float64]


class EpisodeError(PipelineError):
    """Arrays of an episode do not fit together."""


@dataclass(frozen=True)
class Provenance:
    """The origin of an episode, and what was done to it."""

    source: str
    """Recording, as given by the user."""
    sha256: str
    """Hash of the recording's bytes."""
    storage: str
    """mcap, sqlite3, ros1, npz, dump, zarr or lerobot."""
    topic: str
    message: int
    """Index of the message among those of its topic, from 0."""
    segment: int
    """Index of the trajectory inside the message, from 0."""
    log_time_ns: int
    joint_names: tuple[str, ...]
    """Joints as the recording names them, in its order."""
    derived: tuple[str, ...] = ()
    """What was computed instead of read: "velocity differentiated", "pose by FK"."""
    salvaged: bool = False
    """Whether the recording was damaged and only partly readable."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON form."""
        lists = {"joint_names": list(self.joint_names), "derived": list(self.derived)}
        return {**vars(self), **lists}


@dataclass(frozen=True)
class Episode:
    """A demonstration at its recorded sampling.

    T is the number of samples, J the number of joints. `joint_command` is what the servo was
    commanded at each time. It equals `joint_pos` if only a plan was recorded.
    """

    t: Array
    """Times from 0, strictly increasing, s. Shape (T,)."""
    joint_pos: Array
    """Joint positions, rad. Shape (T, J)."""
    joint_vel: Array
    """Joint velocities, rad/s. Shape (T, J)."""
    joint_command: Array
    """Commanded joint positions, rad. Shape (T, J)."""
    ee_pose: Array
    """TCP in the base frame: m, quaternion xyzw, continuous. Shape (T, 7)."""
    object_pos: Array
    """Centre of the object, m, base frame. Shape (3,)."""
    object_axis: Array
    """Unit axis of the object, base frame. Shape (3,)."""
    provenance: Provenance = field(repr=False)
    obstacles: Array = field(default_factory=lambda: np.zeros((0, COLUMNS)), repr=False)
    """Obstacles around the arm, rows of `pipeline.obstacles`. Shape (M, 12)."""
    known_hash: str | None = field(default=None, repr=False, compare=False)
    """`content_hash`, if it was computed before."""

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            EpisodeError: shapes disagree, times do not increase, or a number is not finite.
        """
        steps, joints = len(self.t), self.joint_pos.shape[-1]
        expected = {
            "t": (steps,),
            "joint_pos": (steps, joints),
            "joint_vel": (steps, joints),
            "joint_command": (steps, joints),
            "ee_pose": (steps, 7),
            "object_pos": (3,),
            "object_axis": (3,),
            "obstacles": (len(self.obstacles), COLUMNS),
        }
        arrays = {name: getattr(self, name) for name in expected}
        for name, array in arrays.items():
            if array.shape != expected[name]:
                shape = expected[name]
                raise EpisodeError(f"episode: {name} has shape {array.shape}, expected {shape}")
        # One check of all numbers; the array at fault is only looked for if there is one.
        together = np.concatenate([array.ravel() for array in arrays.values()])
        if not np.isfinite(together).all():
            bad = next(name for name, array in arrays.items() if not np.isfinite(array).all())
            raise EpisodeError(f"episode: {bad} holds a number that is not finite")
        if steps < 2 or self.t[0] != 0 or (self.t[1:] <= self.t[:-1]).any():
            raise EpisodeError(
                f"episode: times must rise from 0 over two samples or more: {self.t}"
            )

    @property
    def duration_s(self) -> float:
        """Time from the first to the last sample."""
        return float(self.t[-1])

    @property
    def content_hash(self) -> str:
        """Hash of times, positions, object and obstacles, rounded to 1e-6."""
        if self.known_hash is not None:
            return self.known_hash
        place = (self.object_pos, self.object_axis, self.obstacles.ravel())
        parts = (self.t, self.joint_pos.ravel(), *place)
        whole = np.round(np.concatenate(parts) * 1e6).astype("<i8")
        return hashlib.sha256(whole.tobytes()).hexdigest()
