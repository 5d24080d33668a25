"""The arm as its URDF describes it: joints, limits, forward kinematics.

Knows no particular arm: names come from params.yaml, geometry from the URDF. Knows nothing of
collisions, planning, simulation or policies.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pinocchio as pin
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import PipelineError
from pipeline.kinematics import JointLimits
from pipeline.params import RobotParams
from pipeline.robot.description import urdf_text

Array = NDArray[np.float64]


class ModelError(PipelineError):
    """The robot's description is missing, unreadable, or lacks a joint or a link."""


class RobotModel:
    """Joints, limits and forward kinematics of an arm. J is the number of its joints."""

    joints: tuple[str, ...]
    """Names, in the order of every joint array."""
    lower: Array
    """Least positions, rad (m for a sliding joint); minus infinity where `continuous`. (J,)."""
    upper: Array
    """Largest positions, rad (m for a sliding joint); infinity where `continuous`. (J,)."""
    velocity_limits: Array
    """Largest speeds, rad/s, from the URDF. (J,)."""
    acceleration_limits: Array
    """Largest accelerations, rad/s², from params.yaml: a URDF has none. (J,)."""
    effort_limits: Array
    """Largest torques, N·m, from the URDF. (J,)."""
    continuous: NDArray[np.bool_]
    """Joints that turn without end (URDF type continuous). (J,)."""
    home: Array
    """Pose in which episodes start, rad. (J,)."""

    def __init__(self, robot: RobotParams, full: pin.Model, geometry: pin.GeometryModel | None):
        """Reduce a URDF's model to the arm's joints; `from_params` is the usual way in.

        Args:
            robot: names, limits, home and the grasp centre.
            full: every joint of the URDF.
            geometry: shapes to carry along, or None.

        Raises:
            ModelError: a joint or link is missing or of a kind that has no single position.
        """
        for name in robot.joints:
            _require(name, [str(n) for n in full.names][1:], "joint", robot.urdf)
        held = [i for i, name in enumerate(full.names) if i > 0 and name not in robot.joints]
        neutral = pin.neutral(full)
        geometries = [] if geometry is None else [geometry]
        self.pinocchio, reduced = pin.buildReducedModel(full, geometries, held, neutral)
        self.geometry: Any = reduced[0] if geometries else None
        self.urdf = robot.urdf
        self.joints = robot.joints
        self._read_joints(robot)
        self._base_inverse = self._base_placement(robot.base_link).inverse()
        self._tip = self.frame(robot.tip_link)
        tip = self.pinocchio.frames[self._tip]
        offset = pin.SE3(np.eye(3), np.array([0.0, 0.0, robot.tcp_offset_m]))
        self._tcp_joint = int(tip.parentJoint)
        grasp = pin.Frame(
            "grasp_centre",
            tip.parentJoint,
            self._tip,
            tip.placement * offset,
            pin.FrameType.OP_FRAME,
        )
        self.tcp_frame = int(self.pinocchio.addFrame(grasp, False))
        self.data = self.pinocchio.createData()
        self._home_quaternion = np.array([0.0, 0.0, 0.0, 1.0])
        quaternion = self.fk(self.home)[3:]
        self._home_quaternion = quaternion * np.sign(quaternion[np.argmax(np.abs(quaternion))])

    @classmethod
    def from_params(cls, robot: RobotParams) -> RobotModel:
        """The arm of params.yaml, without shapes.

        Args:
            robot: the section `robot`; a relative URDF path starts at the current folder.

        Raises:
            ModelError: the URDF is missing or unreadable, or lacks a joint or a link.
        """
        return cls(robot, load_urdf(robot.urdf), None)

    def _read_joints(self, robot: RobotParams) -> None:
        model = self.pinocchio
        joints = [model.joints[model.getJointId(name)] for name in robot.joints]
        for name, joint in zip(robot.joints, joints, strict=True):
            if joint.nv != 1:
                raise ModelError(
                    f"{robot.urdf}: joint {name!r} has {joint.nv} degrees of freedom, expected a "
                    "revolute, continuous or prismatic joint; leave it out of robot.joints"
                )
        self.position_index = np.array([joint.idx_q for joint in joints])
        self.velocity_index = np.array([joint.idx_v for joint in joints])
        self.continuous = np.array([joint.nq == 2 for joint in joints])
        self._turns = bool(self.continuous.any())
        lower = model.lowerPositionLimit[self.position_index]
        upper = model.upperPositionLimit[self.position_index]
        self.lower = np.where(self.continuous, -np.inf, lower)
        self.upper = np.where(self.continuous, np.inf, upper)
        self.velocity_limits = model.upperVelocityLimit[self.velocity_index].copy()
        self.effort_limits = model.upperEffortLimit[self.velocity_index].copy()
        self.acceleration_limits = np.array(robot.acceleration_limits_rad_s2)
        self.home = np.array(robot.home_rad)
        for limits, what in ((self.velocity_limits, "velocity"), (self.effort_limits, "effort")):
            if not (limits > 0).all():
                name = robot.joints[int(np.argmin(limits))]
                raise ModelError(
                    f"{robot.urdf}: joint {name!r} has {what} limit {limits.min()}, expected a "
                    f'positive one; give its <limit> a {what}="…"'
                )
        outside = (self.home < self.lower) | (self.home > self.upper)
        if outside.any():
            i = int(np.argmax(outside))
            raise ModelError(
                f"robot.home_rad: joint {self.joints[i]!r} at {self.home[i]} lies outside its "
                f"limits [{self.lower[i]}, {self.upper[i]}] in {robot.urdf}"
            )

    @property
    def limits(self) -> JointLimits:
        """What the joints may do, as chunk execution keeps it."""
        return JointLimits(self.lower, self.upper, self.velocity_limits, self.acceleration_limits)

    def _base_placement(self, base_link: str) -> pin.SE3:
        frame = self.pinocchio.frames[self.frame(base_link)]
        if frame.parentJoint != 0:
            raise ModelError(
                f"{self.urdf}: base link {base_link!r} moves with joint "
                f"{self.pinocchio.names[frame.parentJoint]!r}, expected a link before every joint"
            )
        return frame.placement

    def frame(self, link: str) -> int:
        """Index of a link's frame in the pinocchio model.

        Args:
            link: name of a link.

        Raises:
            ModelError: the URDF has no such link; the message lists those it has.
        """
        frames = self.pinocchio.frames
        bodies = [str(f.name) for f in frames if f.type == pin.FrameType.BODY]
        _require(link, bodies, "link", self.urdf)
        return int(self.pinocchio.getFrameId(link, pin.FrameType.BODY))

    @property
    def world_base(self) -> pin.SE3:
        """Placement of the base link in pinocchio's world."""
        return self._base_inverse.inverse()

    def planning_range(self) -> tuple[Array, Array]:
        """Least and largest positions to draw from or plan in, rad: limits, else home ± π."""
        lower = np.where(np.isfinite(self.lower), self.lower, self.home - np.pi)
        return lower, np.where(np.isfinite(self.upper), self.upper, self.home + np.pi)

    def unwind(self, joint_pos: Array) -> Array:
        """The same configuration with every continuous joint within π of home.

        Args:
            joint_pos: rad, shape (J,).
        """
        turns = np.round((joint_pos - self.home) / (2 * np.pi))
        return np.where(self.continuous, joint_pos - 2 * np.pi * turns, joint_pos)

    def configuration(self, joint_pos: Array) -> Array:
        """Pinocchio's configuration: its joint order, cosine and sine for a continuous joint.

        Args:
            joint_pos: rad, shape (J,).
        """
        q = np.empty(self.pinocchio.nq)
        q[self.position_index] = joint_pos
        if self._turns:
            first = self.position_index[self.continuous]
            q[first] = np.cos(joint_pos[self.continuous])
            q[first + 1] = np.sin(joint_pos[self.continuous])
        return q

    def tcp(self, joint_pos: Array) -> pin.SE3:
        """Pose of the grasp centre in the base frame.

        Args:
            joint_pos: rad, shape (J,).
        """
        pin.forwardKinematics(self.pinocchio, self.data, self.configuration(joint_pos))
        return self._base_inverse * pin.updateFramePlacement(
            self.pinocchio, self.data, self.tcp_frame
        )

    def fk(self, joint_pos: ArrayLike) -> Array:
        """Poses of the grasp centre in the base frame.

        Args:
            joint_pos: rad, shape (..., J).

        Returns:
            Position m and quaternion xyzw, each in the hemisphere of the home pose's. (..., 7).

        Raises:
            ModelError: the last axis is not J long.
        """
        joint_pos = np.asarray(joint_pos, dtype=np.float64)
        if joint_pos.shape[-1:] != (len(self.joints),):
            raise ModelError(
                f"joint positions have shape {joint_pos.shape}, expected (..., {len(self.joints)})"
            )
        flat = joint_pos.reshape(-1, len(self.joints))
        poses = np.empty((len(flat), 7))
        for pose, q in zip(poses, flat, strict=True):
            pose[:] = pin.SE3ToXYZQUAT(self.tcp(q))
        poses[:, 3:] = continue_quaternions(self._home_quaternion, poses[:, 3:])
        return poses.reshape(*joint_pos.shape[:-1], 7)

    def ee_path(self, joint_pos: ArrayLike) -> Array:
        """Poses of the grasp centre along a motion, with no jump of a quaternion's sign.

        Args:
            joint_pos: rad, shape (T, J).

        Returns:
            Position m and quaternion xyzw, the first in the hemisphere of home's. (T, 7).
        """
        poses = self.fk(joint_pos)
        dots = np.einsum("ti,ti->t", poses[1:, 3:], poses[:-1, 3:])
        poses[1:, 3:] *= np.cumprod(np.where(dots < 0, -1.0, 1.0))[:, None]
        return poses

    def link_positions(self, joint_pos: Array) -> Array:
        """Points along the arm, for drawing it as a stick figure.

        Args:
            joint_pos: rad, shape (J,).

        Returns:
            Base, the joints up to the tip, tip link and grasp centre, m, base frame. (L, 3).
        """
        tcp = self.tcp(joint_pos)
        chain = list(self.pinocchio.supports[self._tcp_joint])
        placements = [self._base_inverse * self.data.oMi[joint] for joint in chain[1:]]
        tip = self._base_inverse * self.data.oMi[self._tcp_joint]
        tip = tip * self.pinocchio.frames[self._tip].placement
        points = [placement.translation for placement in [*placements, tip, tcp]]
        return np.stack([np.zeros(3), *points])


def load_urdf(path: Path) -> pin.Model:
    """Read every joint and link of a URDF.

    Args:
        path: the file.

    Raises:
        ModelError: the file is missing or no URDF.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; robot.urdf must name a URDF")
    try:
        return pin.buildModelFromXML(urdf_text(path))
    except (ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"{path}: not readable as URDF: {error}") from error


def continue_quaternions(previous: ArrayLike, current: ArrayLike) -> Array:
    """Flip signs so that no quaternion points away from the one before it.

    Args:
        previous: shape (..., 4).
        current: shape (..., 4).

    Returns:
        `current` with each sign chosen so that the scalar product with `previous` is ≥ 0. (..., 4).
    """
    current = np.asarray(current, dtype=np.float64)
    dots = np.sum(np.asarray(previous) * current, axis=-1, keepdims=True)
    return np.where(dots < 0, -current, current)


def axis_quaternion(axis: Array) -> Array:
    """The smallest rotation that turns z into an axis.

    Args:
        axis: unit vector, shape (3,).

    Returns:
        Quaternion xyzw, shape (4,).
    """
    rotation = pin.Quaternion.FromTwoVectors(np.array([0.0, 0.0, 1.0]), np.asarray(axis))
    return np.array(rotation.coeffs())


def _require(name: str, known: Iterable[str], what: str, urdf: Path) -> None:
    known = list(known)
    if name not in known:
        raise ModelError(f"{urdf}: has no {what} {name!r}; it has {', '.join(known)}")
