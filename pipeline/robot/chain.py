"""Reads the kinematic chain of a robot's model, and how far its joints move it, as numbers."""

from __future__ import annotations

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.kinematics import ChainJoint, Geometry, KinematicChain, Motion, matrix, vector
from pipeline.params import TaskParams
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]
NUM_PROBES = 5
"""Random poses in which a joint is tested; it is idle if it moves the TCP in none of them."""
IDLE_M = 1e-9
"""Changes of the TCP (m/rad) and of its axis (rad/rad) below this are rounding errors."""


def kinematic_chain(robot: RobotModel) -> KinematicChain:
    """Read the arm's joints from base to TCP.

    Args:
        robot: the arm. Joints that do not carry the TCP are left out.
    """
    model = robot.pinocchio
    tcp = model.frames[robot.tcp_frame]
    placement = robot.world_base.inverse()
    data = model.createData()
    idle = _idle(robot)
    joints = []
    for index in list(model.supports[tcp.parentJoint])[1:]:
        placement = placement * model.jointPlacements[index]
        motion, axis = _motion(model, data, index)
        name = str(model.names[index])
        joints.append(
            ChainJoint(
                name,
                motion,
                matrix(placement.rotation),
                vector(placement.translation),
                vector(np.round(axis, 12)),
                bool(idle[robot.joints.index(name)]),
            )
        )
        placement = pin.SE3.Identity()
    tip = placement * tcp.placement
    return KinematicChain(tuple(joints), matrix(tip.rotation), vector(tip.translation))


def policy_geometry(robot: RobotModel, task: TaskParams) -> Geometry:
    """Collect what a policy must know about arm and object.

    Args:
        robot: the arm.
        task: length of the object, which is grasped at its end.
    """
    return Geometry(kinematic_chain(robot), task.object_length_m / 2)


def levers(arm: RobotModel, scene: pin.GeometryModel) -> Array:
    """Compute the largest travel of any point of the arm for each joint.

    Args:
        arm: the arm.
        scene: shapes of the arm and its surroundings.

    Returns:
        m for each rad, or m, of the joint. Shape (J,).
    """
    model = arm.pinocchio
    reach = np.zeros(model.njoints)
    for geometry in scene.geometryObjects:
        shape = geometry.geometry
        shape.computeLocalAABB()
        centre = np.linalg.norm(geometry.placement.act(shape.aabb_center))
        joint = geometry.parentJoint
        reach[joint] = max(reach[joint], centre + shape.aabb_radius)
    sliding = np.zeros(model.njoints)
    ends = np.maximum(np.abs(arm.lower), np.abs(arm.upper))
    joints = [model.getJointId(name) for name in arm.joints]
    for joint, end in zip(joints, ends, strict=True):
        sliding[joint] = end if "P" in model.joints[joint].shortname() else 0.0
    for joint in range(model.njoints - 1, 0, -1):
        # Measured from the joint's origin, about which it turns or slides the links behind it.
        offset = np.linalg.norm(model.jointPlacements[joint].translation) + sliding[joint]
        parent = model.parents[joint]
        reach[parent] = max(reach[parent], offset + reach[joint])
    return np.array([1.0 if sliding[joint] else reach[joint] for joint in joints])


def _motion(model: pin.Model, data: pin.Data, index: int) -> tuple[Motion, Array]:
    """Find the kind and axis of a joint by moving it: pinocchio has one type for each axis."""
    joint = model.joints[index]
    pin.forwardKinematics(
        model, data, pin.integrate(model, pin.neutral(model), _unit(model, joint))
    )
    moved = model.jointPlacements[index].inverse() * data.liMi[index]
    turn, slide = pin.log3(moved.rotation), np.asarray(moved.translation)
    if np.linalg.norm(slide) > np.linalg.norm(turn):
        return "prismatic", slide
    return ("continuous" if joint.nq == 2 else "revolute"), np.asarray(turn)


def _unit(model: pin.Model, joint: pin.JointModel) -> Array:
    step = np.zeros(model.nv)
    step[joint.idx_v] = 1.0
    return step


def _idle(robot: RobotModel) -> NDArray[np.bool_]:
    """Find the joints that move neither the TCP nor its z axis, in any pose. Shape (J,)."""
    rng = np.random.default_rng(0)
    lower = np.where(np.isfinite(robot.lower), robot.lower, -np.pi)
    upper = np.where(np.isfinite(robot.upper), robot.upper, np.pi)
    effect = np.zeros(len(robot.joints))
    for q in rng.uniform(lower, upper, (NUM_PROBES, len(robot.joints))):
        jacobian = pin.computeFrameJacobian(
            robot.pinocchio,
            robot.data,
            robot.configuration(q),
            robot.tcp_frame,
            pin.ReferenceFrame.LOCAL,
        )[:, robot.velocity_index]
        # Rotation about the TCP's own z axis is the last row, which does not count.
        effect = np.maximum(effect, np.abs(jacobian[[0, 1, 2, 3, 4]]).max(axis=0))
    return np.asarray(effect < IDLE_M)
