"""The arm's kinematic chain as plain numbers, independent of any robot library.

`robot.chain` reads it from a URDF, and checkpoints store it. Policies and recordings compute poses
of the TCP from it, thousands at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.obstacles import ObstacleInput

Array = NDArray[np.float64]
Matrix = tuple[tuple[float, float, float], ...]
Vector = tuple[float, float, float]
Motion = Literal["revolute", "continuous", "prismatic"]


class KinematicsError(PipelineError):
    """A kinematic chain is missing or malformed."""


@dataclass(frozen=True)
class JointLimits:
    """Limits of the joints. Shape (J,) each."""

    lower: Array
    """Smallest positions, rad (m for a sliding joint); minus infinity where there is no limit."""
    upper: Array
    """Largest positions, rad (m); infinity where there is no limit."""
    velocity: Array
    """Largest speeds, rad/s (m/s)."""
    acceleration: Array
    """Largest accelerations, rad/s² (m/s²)."""


@dataclass(frozen=True)
class ChainJoint:
    """One joint of the chain from base to TCP: a fixed placement, then a motion along its axis."""

    name: str
    motion: Motion
    rotation: Matrix
    """Orientation of the joint's frame in its parent's at joint position zero. (3, 3)."""
    translation: Vector
    """Position of the joint's frame in its parent's, m. (3,)."""
    axis: Vector
    """Unit axis in the joint's own frame. (3,)."""
    idle: bool
    """Whether the joint moves neither the TCP nor its z axis, as the last joint of a wrist does."""


@dataclass(frozen=True)
class KinematicChain:
    """The joints from base to TCP, and the placement of the TCP in the last one."""

    joints: tuple[ChainJoint, ...]
    tip_rotation: Matrix
    """Orientation of the TCP in the last joint's frame. (3, 3)."""
    tip_translation: Vector
    """Position of the TCP in the last joint's frame, m. (3,)."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON form."""
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
        """Read the chain that an artefact stores (see `to_dict`).

        Raises:
            KinematicsError: keys are missing or have the wrong type.
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
                f"no kinematic chain in {str(data)[:200]}: {error!r}; another version of "
                "the pipeline wrote the artefact: make it again"
            ) from error


def matrix(values: Any) -> Matrix:
    """Convert nine numbers to nested tuples.

    Args:
        values: shape (3, 3).

    Raises:
        ValueError: the shape is wrong.
    """
    rows = tuple(vector(row) for row in values)
    if len(rows) != 3:
        raise ValueError(f"{len(rows)} rows, expected 3")
    return rows


def vector(values: Any) -> Vector:
    """Convert three numbers to a tuple.

    Args:
        values: shape (3,).

    Raises:
        ValueError: the length is wrong.
    """
    x, y, z = (float(value) for value in values)
    return x, y, z


@dataclass(frozen=True)
class Geometry:
    """What a policy must know about arm and object to relate them."""

    chain: KinematicChain
    grasp_offset_m: float
    """Distance of the grasped point from the object's centre along its axis, m."""
    obstacles: ObstacleInput | None = None
    """What the policy sees of obstacles; None if it sees none."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON form."""
        seen = {} if self.obstacles is None else {"obstacles": self.obstacles.to_dict()}
        return {"chain": self.chain.to_dict(), "grasp_offset_m": self.grasp_offset_m, **seen}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Geometry:
        """Read the geometry that an artefact stores (see `to_dict`).

        Raises:
            KinematicsError: keys are missing or have the wrong type.
        """
        try:
            seen = data.get("obstacles")
            return cls(
                KinematicChain.from_dict(data["chain"]),
                float(data["grasp_offset_m"]),
                None if seen is None else ObstacleInput.from_dict(seen),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise KinematicsError(
                f"no geometry in {str(data)[:200]}: {error!r}; another version of the pipeline "
                "wrote the artefact: make it again"
            ) from error


class ForwardKinematics:
    """Computes poses of the TCP for many joint positions at once, with NumPy alone.

    The quaternion of a revolute joint is linear in the sine and cosine of half its angle (Hamilton
    1844), so a joint costs one product with a constant matrix for all N positions.
    """

    def __init__(self, chain: KinematicChain, joints: tuple[str, ...], home: Array) -> None:
        """Precompute the constants.

        Args:
            chain: base to TCP.
            joints: names in the order of the joint positions; they include those of the chain.
            home: pose whose quaternion fixes the sign of the others, rad (m for sliding joints).
                (J,).

        Raises:
            KinematicsError: a joint of the chain is not among `joints`.
        """
        missing = [joint.name for joint in chain.joints if joint.name not in joints]
        if missing:
            raise KinematicsError(
                f"the chain to the TCP needs joints {', '.join(missing)}, but only "
                f"{', '.join(joints)} are named; name them in robot.joints"
            )
        self._steps = tuple(_Step(joint, joints.index(joint.name)) for joint in chain.joints)
        self._tip_turn = _right_product(_quaternion(chain.tip_rotation))
        self._tip = np.array(chain.tip_translation)
        self._home = np.array([0.0, 0.0, 0.0, 1.0])
        quaternion = self(home[None])[0, 3:]
        self._home = quaternion * np.sign(quaternion[np.argmax(np.abs(quaternion))])

    def __call__(self, joint_pos: Array) -> Array:
        """Compute poses of the TCP in the base frame.

        Args:
            joint_pos: rad (m for sliding joints). Shape (N, J).

        Returns:
            Position, m, and quaternion xyzw, in the same hemisphere as that of home. (N, 7).
        """
        values = np.ascontiguousarray(joint_pos.T)
        turn = np.zeros((4, len(joint_pos)))
        turn[3] = 1.0
        place = np.zeros((3, len(joint_pos)))
        for step in self._steps:
            if step.translation.any():
                place += _turned(turn, step.translation)
            if step.slides:
                turn = step.fixed @ turn
                place += values[step.column] * _turned(turn, step.axis)
                continue
            half = 0.5 * values[step.column]
            both = step.both @ turn
            turn = np.cos(half) * both[:4] + np.sin(half) * both[4:]
        place += _turned(turn, self._tip)
        turn = self._tip_turn @ turn
        turn *= np.where(self._home @ turn < 0, -1.0, 1.0)
        return np.ascontiguousarray(np.concatenate([place, turn]).T)


class _Step:
    """Constants of one joint: its placement and its motion."""

    def __init__(self, joint: ChainJoint, column: int) -> None:
        self.column = column
        self.slides = joint.motion == "prismatic"
        self.axis = np.array(joint.axis)
        self.translation = np.array(joint.translation)
        self.fixed = _right_product(_quaternion(joint.rotation))
        about = _right_product(np.append(self.axis, 0.0))
        self.both = np.concatenate([self.fixed, about @ self.fixed])


def continue_paths(quaternions: Array, starts: NDArray[np.int64]) -> Array:
    """Remove jumps of sign along each of several paths. The first quaternion of each path stays.

    Args:
        quaternions: the paths one after the other. Shape (N, 4).
        starts: index at which each path begins, ascending from 0. Shape (E,).
    """
    dots = np.einsum("ni,ni->n", quaternions[1:], quaternions[:-1])
    flips = np.ones(len(quaternions))
    flips[1:][dots < 0] = -1.0
    signs = np.cumprod(flips)
    lengths = np.diff(starts, append=len(quaternions))
    # Relative to the sign at the start of the path, so that paths are independent.
    continued: Array = quaternions * (signs * np.repeat(signs[starts], lengths))[:, None]
    return continued


def _quaternion(rotation: Matrix) -> Array:
    """Compute the quaternion xyzw of a rotation matrix as an eigenvector (Bar-Itzhack 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    symmetric = np.array(
        [
            [a - e - i, 0, 0, 0],
            [d + b, e - a - i, 0, 0],
            [g + c, h + f, i - a - e, 0],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    vector: Array = np.linalg.eigh(symmetric)[1][:, -1]
    return vector


def _right_product(quaternion: Array) -> Array:
    """Build the matrix that multiplies a quaternion xyzw by this one from the right. (4, 4)."""
    x, y, z, w = quaternion
    return np.array([[w, z, -y, x], [-z, w, x, y], [y, -x, w, z], [-x, -y, -z, w]])


def _turned(turn: Array, vector: Array) -> Array:
    """Rotate a vector by N unit quaternions (4, N): v + 2 w (u × v) + 2 u × (u × v). (3, N)."""
    x, y, z, w = turn
    a, b, c = vector
    across = np.stack([y * c - z * b, z * a - x * c, x * b - y * a])
    p, q, r = across
    again = np.stack([y * r - z * q, z * p - x * r, x * q - y * p])
    turned: Array = vector[:, None] + 2 * (w * across + again)
    return turned
