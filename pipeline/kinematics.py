"""The arm's kinematic chain as plain numbers, so that policy and robot need not know each other.

A robot model makes it from a URDF; a checkpoint carries it; a policy computes the TCP from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Array = NDArray[np.float64]
Matrix = tuple[tuple[float, float, float], ...]
Vector = tuple[float, float, float]
Motion = Literal["revolute", "continuous", "prismatic"]


class KinematicsError(PipelineError):
    """A kinematic chain is missing or malformed."""


@dataclass(frozen=True)
class JointLimits:
    """What the joints may do. Shape (J,) each."""

    lower: Array
    """Least positions, rad; minus infinity where there is none."""
    upper: Array
    """Largest positions, rad; infinity where there is none."""
    velocity: Array
    """Largest speeds, rad/s."""
    acceleration: Array
    """Largest accelerations, rad/s²."""


@dataclass(frozen=True)
class ChainJoint:
    """One joint of the chain from base to TCP: a fixed placement, then a motion about its axis."""

    name: str
    motion: Motion
    rotation: Matrix
    """Orientation of the joint's frame in its parent's, at zero. (3, 3)."""
    translation: Vector
    """Position of the joint's frame in its parent's, m. (3,)."""
    axis: Vector
    """Unit axis in the joint's own frame. (3,)."""
    idle: bool
    """Whether the joint moves neither the TCP nor its z axis, as a wrist's last joint."""


@dataclass(frozen=True)
class KinematicChain:
    """Base to TCP, for the joints of the state vector in its order."""

    joints: tuple[ChainJoint, ...]
    tip_rotation: Matrix
    """Orientation of the TCP in the last joint's frame. (3, 3)."""
    tip_translation: Vector
    """Position of the TCP in the last joint's frame, m. (3,)."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON form."""
        return {
            "joints": [
                {
                    "name": joint.name,
                    "motion": joint.motion,
                    "rotation": [list(row) for row in joint.rotation],
                    "translation": list(joint.translation),
                    "axis": list(joint.axis),
                    "idle": joint.idle,
                }
                for joint in self.joints
            ],
            "tip_rotation": [list(row) for row in self.tip_rotation],
            "tip_translation": list(self.tip_translation),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KinematicChain:
        """The chain that an artefact carries (see `to_dict`).

        Raises:
            KinematicsError: keys are missing or of another type.
        """
        try:
            joints = tuple(
                ChainJoint(
                    str(joint["name"]),
                    joint["motion"],
                    matrix(joint["rotation"]),
                    vector(joint["translation"]),
                    vector(joint["axis"]),
                    bool(joint["idle"]),
                )
                for joint in data["joints"]
            )
            return cls(joints, matrix(data["tip_rotation"]), vector(data["tip_translation"]))
        except (KeyError, TypeError, ValueError) as error:
            raise KinematicsError(
                f"no kinematic chain in {str(data)[:200]}: {error!r}; the artefact was written by "
                "another version of the pipeline: make it again"
            ) from error


def matrix(values: Any) -> Matrix:
    """Nine numbers as nested tuples.

    Args:
        values: shape (3, 3).

    Raises:
        ValueError: another shape.
    """
    rows = tuple(vector(row) for row in values)
    if len(rows) != 3:
        raise ValueError(f"{len(rows)} rows, expected 3")
    return rows


def vector(values: Any) -> Vector:
    """Three numbers as a tuple.

    Args:
        values: shape (3,).

    Raises:
        ValueError: another length.
    """
    x, y, z = (float(value) for value in values)
    return x, y, z


@dataclass(frozen=True)
class Geometry:
    """What a policy must know of arm and object to see one from the other."""

    chain: KinematicChain
    grasp_offset_m: float
    """Grasped point: this far from the object's centre along its axis, m."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON form."""
        return {"chain": self.chain.to_dict(), "grasp_offset_m": self.grasp_offset_m}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Geometry:
        """The geometry that an artefact carries (see `to_dict`).

        Raises:
            KinematicsError: keys are missing or of another type.
        """
        try:
            return cls(KinematicChain.from_dict(data["chain"]), float(data["grasp_offset_m"]))
        except (KeyError, TypeError, ValueError) as error:
            raise KinematicsError(
                f"no geometry in {str(data)[:200]}: {error!r}; the artefact was written by another "
                "version of the pipeline: make it again"
            ) from error
