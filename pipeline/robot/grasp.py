"""The grasp itself, in MuJoCo with contacts: fingers close on the object, the arm lifts it.

Knows the arm's last pose and where the object is; nothing of plans or policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.params import EvaluateParams, RobotParams, TaskParams
from pipeline.robot.ik import InverseKinematics
from pipeline.robot.model import RobotModel, axis_quaternion
from pipeline.robot.simulator import SimulationError, arm_spec

Array = NDArray[np.float64]

TIMESTEP_S = 0.002
COMMAND_STEPS = 5
"""Physics steps between two commands."""
CLOSE_S = 0.6
SETTLE_S = 0.3
"""After closing, and again once the holder has let go."""
LIFT_S = 1.0
LIFT_POINTS = 10
"""Points of the lift whose joint positions are solved for; commands run straight between them."""
LARGEST_JUMP_RAD = 0.3
"""Between two of those points; more is a change of branch, not a lift."""
FINGER_KP_N_M = 2e4
FINGER_ARMATURE_KG = 0.5
"""Motor and gears as felt at a finger (assumed); makes closing smooth, not the grasp firm."""
FRICTION_TO_NORMAL = 10.0
"""MuJoCo's impratio: a stiffer friction than its default, so that a held object does not creep."""
CONTACT_SOLREF, CONTACT_SOLIMP = [2 * TIMESTEP_S, 1.0], [0.98, 0.999, 0.001, 0.5, 2.0]
"""Stiff contacts: with MuJoCo's defaults the fingers sink millimetres into so light an object."""
HOLDER_SOLREF, HOLDER_SOLIMP = [0.02, 1.0], [0.96, 0.96, 0.001, 0.5, 2.0]
"""The holder gives by about 1 mm/N to a force on a pen of 15 g: fingers off centre push the object
aside, as in a cup, instead of stalling and shooting it away when it is let go (assumed)."""
HOLDER, WELD = "holder", "held"


@dataclass(frozen=True)
class Lifts:
    """What came of N grasps."""

    reachable: NDArray[np.bool_]
    """Whether the arm can go straight up from there. (N,)."""
    risen_m: Array
    """Least height gained by the object's centre while held up; zero if not reachable. (N,)."""
    slipped_m: Array
    """Most that the object moved in the gripper since it was let go; zero likewise. (N,)."""
    lifted: NDArray[np.bool_]
    """Success by the thresholds of params.yaml. (N,)."""


class GraspSimulator:
    """The arm with fingers that move, a table, obstacles, and an object in a holder.

    The holder keeps the object in its pose until the fingers have closed, then lets go of it
    altogether. What the fingers may touch is the object alone; the object touches everything.
    """

    def __init__(self, robot: RobotParams, task: TaskParams, evaluate: EvaluateParams):
        """Build the model.

        Args:
            robot: description file, servo and gripper.
            task: object, table and obstacles.
            evaluate: how far to lift, how long to hold, and what counts as success.

        Raises:
            ModelError: the URDF is missing or lacks a joint or a finger.
            SimulationError: `robot.gripper` names no fingers, or MuJoCo cannot read the URDF.
        """
        if not robot.gripper.fingers:
            raise SimulationError(
                "robot.gripper.fingers is empty: nothing can close on the object; name the "
                "fingers' links, or leave grasps out with evaluate.grasp_pens: 0"
            )
        self._arm = RobotModel.from_params(robot)
        for finger in robot.gripper.fingers:
            self._arm.frame(finger)
        self._evaluate, self._stroke_m = evaluate, robot.gripper.stroke_m
        self._ik = InverseKinematics(self._arm, 1)
        self._model = _build(robot, task, self._arm)
        self._data = mujoco.MjData(self._model)
        joints = [self._model.joint(name) for name in robot.joints]
        self._positions = np.array([joint.qposadr[0] for joint in joints])
        self._object = self._model.body(task.object).id
        self._weld = self._model.equality(WELD).id

    def lift(self, joint_pos: Array, object_pos: Array, object_axis: Array) -> Lifts:
        """Close the fingers where the arm stands, lift, hold.

        Args:
            joint_pos: where the arm stands, at rest, rad. (N, J).
            object_pos: centres of the objects, m, base frame. (N, 3).
            object_axis: their unit axes. (N, 3).

        Raises:
            SimulationError: shapes do not fit.
        """
        number = len(joint_pos)
        expected = [(number, len(self._arm.joints)), (number, 3), (number, 3)]
        shapes = [array.shape for array in (joint_pos, object_pos, object_axis)]
        if shapes != expected:
            raise SimulationError(f"lift with arrays of shapes {shapes}, expected {expected}")
        reachable = np.zeros(number, np.bool_)
        risen, slipped = np.zeros(number), np.zeros(number)
        for i in range(number):
            path = self._way_up(joint_pos[i])
            if path is not None:
                reachable[i] = True
                risen[i], slipped[i] = self._try(path, object_pos[i], object_axis[i])
        high = risen >= self._evaluate.grasp_rise_m
        lifted = reachable & high & (slipped <= self._evaluate.grasp_slip_m)
        return Lifts(reachable, risen, slipped, lifted)

    def _way_up(self, joint_pos: Array) -> Array | None:
        """Joint positions straight up, the gripper's z axis kept if it can be, (points, J)."""
        tcp = self._arm.tcp(joint_pos)
        path = [joint_pos]
        for height_m in np.linspace(0, self._evaluate.grasp_lift_m, LIFT_POINTS + 1)[1:]:
            goal = tcp.translation + np.array([0.0, 0.0, height_m])
            solution = self._ik.lean(goal, tcp.rotation[:, 2], path[-1])
            if solution is None or np.abs(solution - path[-1]).max() > LARGEST_JUMP_RAD:
                return None
            path.append(solution)
        return np.stack(path)

    def _try(self, path: Array, object_pos: Array, object_axis: Array) -> tuple[float, float]:
        data = self._data
        self._place(path[0], object_pos, object_axis)
        self._run(CLOSE_S, lambda share: (path[0], share))
        self._run(SETTLE_S, lambda _: (path[0], 1.0))
        data.eq_active[self._weld] = 0
        before, height = self._in_gripper(), float(data.xpos[self._object, 2])
        self._run(SETTLE_S, lambda _: (path[0], 1.0))
        self._run(LIFT_S, lambda share: (_along(path, _smooth(share)), 1.0))
        risen, slipped = np.inf, 0.0

        def hold(_: float) -> tuple[Array, float]:
            nonlocal risen, slipped
            risen = min(risen, float(data.xpos[self._object, 2]) - height)
            slipped = max(slipped, float(np.linalg.norm(self._in_gripper() - before)))
            return path[-1], 1.0

        self._run(self._evaluate.grasp_hold_s, hold)
        return risen, slipped

    def _place(self, joint_pos: Array, object_pos: Array, object_axis: Array) -> None:
        model, data = self._model, self._data
        mujoco.mj_resetData(model, data)
        turn = pin.Quaternion(axis_quaternion(object_axis))
        pose = self._arm.world_base * pin.SE3(turn.toRotationMatrix(), object_pos)
        x, y, z, w = pin.SE3ToXYZQUAT(pose)[3:]
        data.qpos[self._positions] = joint_pos
        start = model.jnt_qposadr[model.body_jntadr[self._object]]
        data.qpos[start : start + 7] = [*pose.translation, w, x, y, z]
        data.mocap_pos[0], data.mocap_quat[0] = pose.translation, [w, x, y, z]
        data.ctrl[: len(joint_pos)] = joint_pos
        mujoco.mj_forward(model, data)

    def _run(self, seconds: float, command: Callable[[float], tuple[Array, float]]) -> None:
        """Follow `command`, from the share of the time gone to joints (rad) and closing (0–1)."""
        count = max(round(seconds / (TIMESTEP_S * COMMAND_STEPS)), 1)
        for step in range(count):
            joint_pos, closing = command((step + 1) / count)
            self._data.ctrl[:-1] = joint_pos
            self._data.ctrl[-1] = closing * self._stroke_m
            mujoco.mj_step(self._model, self._data, COMMAND_STEPS)

    def _in_gripper(self) -> Array:
        """Centre of the object in the frame of the grasp centre, m, (3,)."""
        tcp = self._arm.world_base * self._arm.tcp(self._data.qpos[self._positions])
        return np.asarray(tcp.inverse().act(self._data.xpos[self._object].copy()))


def _along(path: Array, share: float) -> Array:
    where = share * (len(path) - 1)
    first = min(int(where), len(path) - 2)
    step: Array = path[first + 1] - path[first]
    return np.asarray(path[first] + (where - first) * step)


def _smooth(share: float) -> float:
    """Minimum-jerk time profile (Flash and Hogan 1985)."""
    return share**3 * (10 - 15 * share + 6 * share**2)


def _build(robot: RobotParams, task: TaskParams, arm: RobotModel) -> Any:
    spec = arm_spec(robot, arm, TIMESTEP_S, keep_links=True)
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = FRICTION_TO_NORMAL
    for geom in spec.geoms:
        # Nothing of the arm meets the rest of the arm: the planner's own checks judge that.
        geom.contype, geom.conaffinity = 0, min(geom.conaffinity, 1)
    _add_fingers(spec, robot)
    _add_scene(spec, task, arm)
    _add_object(spec, robot, task)
    try:
        return spec.compile()
    except ValueError as error:
        raise SimulationError(f"{robot.urdf}: no model with contacts: {error}") from error


def _add_fingers(spec: Any, robot: RobotParams) -> None:
    gripper = robot.gripper
    for finger, direction in zip(gripper.fingers, gripper.closing, strict=True):
        spec.body(finger).add_joint(
            name=finger,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=direction,
            range=[0.0, gripper.stroke_m],
            limited=True,
            armature=FINGER_ARMATURE_KG,
        )
        if finger != gripper.fingers[0]:
            spec.add_equality(
                type=mujoco.mjtEq.mjEQ_JOINT,
                objtype=mujoco.mjtObj.mjOBJ_JOINT,
                name1=finger,
                name2=gripper.fingers[0],
                data=_equality(0.0, 1.0),
                solref=CONTACT_SOLREF,
                solimp=CONTACT_SOLIMP,
            )
    motor = spec.add_actuator(
        name="gripper", target=gripper.fingers[0], trntype=mujoco.mjtTrn.mjTRN_JOINT
    )
    number = len(gripper.fingers)
    kp = FINGER_KP_N_M * number
    motor.set_to_position(kp=kp, kv=2 * (kp * FINGER_ARMATURE_KG * number) ** 0.5)
    motor.forcelimited = True
    motor.forcerange = [-number * gripper.force_n, number * gripper.force_n]


def _add_scene(spec: Any, task: TaskParams, arm: RobotModel) -> None:
    base = arm.world_base
    x, y, z, w = pin.SE3ToXYZQUAT(base)[3:]
    turn = [w, x, y, z]
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0.0, 0.0, 1.0],
        pos=base.act(np.array([0.0, 0.0, task.table_height_m])),
        quat=turn,
    )
    for box in task.scenes[task.scene]:
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=np.array(box.size_m) / 2,
            pos=base.act(np.array(box.centre_m)),
            quat=turn,
        )


def _add_object(spec: Any, robot: RobotParams, task: TaskParams) -> None:
    held = spec.worldbody.add_body(name=task.object)
    held.add_freejoint()
    friction = robot.gripper.friction
    held.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        size=[
            task.object_radius_m,
            max(task.object_length_m / 2 - task.object_radius_m, 1e-4),
            0.0,
        ],
        mass=task.object_mass_kg,
        # Torsional and rolling friction of a pad as wide as the object is thick.
        condim=6,
        friction=[friction, friction * task.object_radius_m / 2, 1e-4],
        # Its numbers count in every contact, not a mean with the other shape's.
        priority=1,
        solref=CONTACT_SOLREF,
        solimp=CONTACT_SOLIMP,
        contype=1,
        conaffinity=0,
    )
    spec.worldbody.add_body(name=HOLDER, mocap=True)
    spec.add_equality(
        name=WELD,
        type=mujoco.mjtEq.mjEQ_WELD,
        objtype=mujoco.mjtObj.mjOBJ_BODY,
        name1=HOLDER,
        name2=task.object,
        solref=HOLDER_SOLREF,
        solimp=HOLDER_SOLIMP,
        # Anchor, relative position, relative rotation (none), weight of rotation.
        data=_equality(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


def _equality(*numbers: float) -> Array:
    """Numbers of an equality constraint, filled up to the length that MuJoCo wants."""
    data = np.zeros(mujoco.mjNEQDATA)
    data[: len(numbers)] = numbers
    return data
