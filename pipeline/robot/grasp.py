"""Grasps with contacts in MuJoCo: the fingers close on the object, then the arm lifts it.

Only the arm's last pose and the pose of the object are needed, no plan and no policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS, simple_shape
from pipeline.params import EvaluateParams, RobotParams, TaskParams
from pipeline.robot.arrangement import scene_obstacles
from pipeline.robot.ik import InverseKinematics
from pipeline.robot.model import RobotModel, axis_quaternion
from pipeline.robot.simulator import SimulationError, add_fingers, arm_spec, equality_data

Array = NDArray[np.float64]

TIMESTEP_S = 0.002
COMMAND_STEPS = 5
"""Physics steps between two commands."""
CLOSE_S = 0.6
SETTLE_S = 0.3
"""Pause after closing, and again after the holder has released the object."""
LIFT_S = 1.0
LIFT_POINTS = 10
"""Points of the lift that inverse kinematics solves; commands interpolate linearly between them."""
LARGEST_JUMP_RAD = 0.3
"""Largest joint step between two of those points; more is a change of branch, not a lift."""
FRICTION_TO_NORMAL = 10.0
"""MuJoCo's impratio. Friction is stiffer than by default, so that a held object does not creep."""
CONTACT_SOLREF, CONTACT_SOLIMP = [2 * TIMESTEP_S, 1.0], [0.98, 0.999, 0.001, 0.5, 2.0]
"""Stiff contacts: with MuJoCo's defaults the fingers sink millimetres into such a light object."""
HOLDER_SOLREF, HOLDER_SOLIMP = [0.02, 1.0], [0.96, 0.96, 0.001, 0.5, 2.0]
"""The holder yields by about 1 mm/N for a pen of 15 g (assumed). Fingers off centre push the object
aside, as in a cup; with a rigid holder they stall, and the object shoots away on release."""
HOLDER, WELD = "holder", "held"


@dataclass(frozen=True)
class Lifts:
    """Results of N grasps."""

    reachable: NDArray[np.bool_]
    """Whether the arm can move straight up from its pose. (N,)."""
    risen_m: Array
    """Smallest rise of the object's centre during the hold; zero where not reachable. (N,)."""
    slipped_m: Array
    """Largest motion of the object in the gripper since release; zero where not reachable. (N,)."""
    lifted: NDArray[np.bool_]
    """Whether the grasp succeeded by the thresholds of params.yaml. (N,)."""


class GraspSimulator:
    """The arm with moving fingers, a table, obstacles, and an object in a holder.

    The holder keeps the object in its pose until the fingers have closed, then releases it. The
    object collides with everything; the links of the arm do not collide with each other.
    """

    def __init__(self, robot: RobotParams, task: TaskParams, evaluate: EvaluateParams):
        """Build the model.

        Args:
            robot: description file, servo and gripper.
            task: object, table and scene.
            evaluate: how far to lift, how long to hold, and what counts as success.

        Raises:
            ModelError: the URDF is missing or lacks a joint or a finger.
            SimulationError: `robot.gripper` names no fingers, or MuJoCo cannot read the URDF.
        """
        if not robot.gripper.fingers:
            raise SimulationError(
                "robot.gripper.fingers is empty, expected the links of the fingers that close on "
                "the object; name them, or skip grasps with evaluate.grasp_pens: 0"
            )
        self._arm = RobotModel.from_params(robot)
        for finger in robot.gripper.fingers:
            self._arm.frame(finger)
        self._evaluate, self._stroke_m = evaluate, robot.gripper.stroke_m
        self._ik = InverseKinematics(self._arm, 1)
        self._robot, self._task = robot, task
        self._build(np.zeros((0, COLUMNS)))

    def _build(self, obstacles: Array) -> None:
        """Build the model with some obstacles (M, 12) besides those of the scene; takes 10 ms."""
        self._obstacles = obstacles
        around = np.concatenate([scene_obstacles(self._task), obstacles])
        self._model = _build(self._robot, self._task, self._arm, around)
        self._data = mujoco.MjData(self._model)
        joints = [self._model.joint(name) for name in self._robot.joints]
        self._positions = np.array([joint.qposadr[0] for joint in joints])
        self._object = self._model.body(self._task.object).id
        self._weld = self._model.equality(WELD).id

    def lift(
        self,
        joint_pos: Array,
        object_pos: Array,
        object_axis: Array,
        obstacles: Sequence[Array] = (),
    ) -> Lifts:
        """Close the fingers in the arm's pose, lift and hold.

        Args:
            joint_pos: poses of the arm at rest, rad. (N, J).
            object_pos: centres of the objects, m, base frame. (N, 3).
            object_axis: their unit axes, base frame. (N, 3).
            obstacles: obstacles of each grasp in addition to those of the scene, shape (M, 12)
                each; empty if there are none.

        Raises:
            SimulationError: shapes do not match.
        """
        number = len(joint_pos)
        expected = [(number, len(self._arm.joints)), (number, 3), (number, 3)]
        shapes = [array.shape for array in (joint_pos, object_pos, object_axis)]
        if shapes != expected:
            raise SimulationError(f"lift with arrays of shapes {shapes}, expected {expected}")
        reachable = np.zeros(number, np.bool_)
        risen, slipped = np.zeros(number), np.zeros(number)
        for i in range(number):
            path = self._lift_path(joint_pos[i])
            if path is not None:
                reachable[i] = True
                if obstacles and not np.array_equal(obstacles[i], self._obstacles):
                    self._build(obstacles[i])
                risen[i], slipped[i] = self._simulate(path, object_pos[i], object_axis[i])
        high = risen >= self._evaluate.grasp_rise_m
        lifted = reachable & high & (slipped <= self._evaluate.grasp_slip_m)
        return Lifts(reachable, risen, slipped, lifted)

    def _lift_path(self, joint_pos: Array) -> Array | None:
        """Compute joint positions straight up, keeping the gripper's z axis if possible.

        Returns:
            Joint positions, rad, shape (points, J), or None where the arm cannot move up.
        """
        tcp = self._arm.tcp(joint_pos)
        path = [joint_pos]
        for height_m in np.linspace(0, self._evaluate.grasp_lift_m, LIFT_POINTS + 1)[1:]:
            goal = tcp.translation + np.array([0.0, 0.0, height_m])
            solution = self._ik.lean(goal, tcp.rotation[:, 2], path[-1])
            if solution is None or np.abs(solution - path[-1]).max() > LARGEST_JUMP_RAD:
                return None
            path.append(solution)
        return np.stack(path)

    def _simulate(self, path: Array, object_pos: Array, object_axis: Array) -> tuple[float, float]:
        """Grasp, lift and hold one object; return how far it rose and how far it slipped, m."""
        data = self._data
        self._place(path[0], object_pos, object_axis)
        self._run(CLOSE_S, lambda share: (path[0], share))
        self._run(SETTLE_S, lambda _: (path[0], 1.0))
        data.eq_active[self._weld] = 0
        before, height = self._in_gripper(), float(data.xpos[self._object, 2])
        self._run(SETTLE_S, lambda _: (path[0], 1.0))
        self._run(LIFT_S, lambda share: (_interpolate(path, _minimum_jerk(share)), 1.0))
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
        data.qpos[self._positions] = joint_pos
        start = model.jnt_qposadr[model.body_jntadr[self._object]]
        data.qpos[start : start + 7] = [*pose.translation, *_turn(pose)]
        data.mocap_pos[0], data.mocap_quat[0] = pose.translation, _turn(pose)
        data.ctrl[: len(joint_pos)] = joint_pos
        mujoco.mj_forward(model, data)

    def _run(self, seconds: float, command: Callable[[float], tuple[Array, float]]) -> None:
        """Run the physics under `command`.

        Args:
            seconds: duration.
            command: maps the share of the duration that has passed (0–1) to joint positions, rad,
                and to how far the fingers are closed (0–1).
        """
        count = max(round(seconds / (TIMESTEP_S * COMMAND_STEPS)), 1)
        for step in range(count):
            joint_pos, closing = command((step + 1) / count)
            self._data.ctrl[:-1] = joint_pos
            self._data.ctrl[-1] = closing * self._stroke_m
            mujoco.mj_step(self._model, self._data, COMMAND_STEPS)

    def _in_gripper(self) -> Array:
        """Return the centre of the object in the frame of the grasp centre, m, shape (3,)."""
        tcp = self._arm.world_base * self._arm.tcp(self._data.qpos[self._positions])
        return np.asarray(tcp.inverse().act(self._data.xpos[self._object].copy()))


def _interpolate(path: Array, share: float) -> Array:
    """Return the point at a share (0–1) of a path of evenly spaced points, shape (J,)."""
    place = share * (len(path) - 1)
    first = min(int(place), len(path) - 2)
    step: Array = path[first + 1] - path[first]
    return np.asarray(path[first] + (place - first) * step)


def _minimum_jerk(share: float) -> float:
    """Map a share of the time to a share of the path (Flash and Hogan 1985)."""
    return share**3 * (10 - 15 * share + 6 * share**2)


def _build(robot: RobotParams, task: TaskParams, arm: RobotModel, obstacles: Array) -> Any:
    spec = arm_spec(robot, arm, TIMESTEP_S, keep_links=True)
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = FRICTION_TO_NORMAL
    for geom in spec.geoms:
        # The arm does not collide with itself here: the planner checks that.
        geom.contype, geom.conaffinity = 0, min(geom.conaffinity, 1)
    add_fingers(spec, robot, CONTACT_SOLREF, CONTACT_SOLIMP)
    _add_scene(spec, task, arm, obstacles)
    _add_object(spec, robot, task)
    try:
        return spec.compile()
    except ValueError as error:
        raise SimulationError(f"{robot.urdf}: no model with contacts: {error}") from error


def _add_scene(spec: Any, task: TaskParams, arm: RobotModel, obstacles: Array) -> None:
    base = arm.world_base
    spec.worldbody.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0.0, 0.0, 1.0],
        pos=base.act(np.array([0.0, 0.0, task.table_height_m])), quat=_turn(base),
    )  # fmt: skip
    for row in obstacles:
        kind, size = simple_shape(row)
        pose = base * pin.XYZQUATToSE3(row[:7])
        shape = getattr(mujoco.mjtGeom, f"mjGEOM_{kind.upper()}")
        spec.worldbody.add_geom(type=shape, size=size, pos=pose.translation, quat=_turn(pose))


def _turn(pose: pin.SE3) -> Array:
    """Return the orientation of a pose as a quaternion wxyz, shape (4,)."""
    return np.asarray(np.roll(pin.SE3ToXYZQUAT(pose)[3:], 1))


def _add_object(spec: Any, robot: RobotParams, task: TaskParams) -> None:
    held = spec.worldbody.add_body(name=task.object)
    held.add_freejoint()
    friction, radius = robot.gripper.friction, task.object_radius_m
    held.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        size=[radius, max(task.object_length_m / 2 - radius, 1e-4), 0.0],
        mass=task.object_mass_kg,
        # Torsional and rolling friction of a pad as wide as the object is thick.
        condim=6,
        friction=[friction, friction * radius / 2, 1e-4],
        # Contacts take these values instead of a mean with those of the other shape.
        priority=1,
        solref=CONTACT_SOLREF,
        solimp=CONTACT_SOLIMP,
        contype=1,
        conaffinity=0,
    )
    spec.worldbody.add_body(name=HOLDER, mocap=True)
    spec.add_equality(
        name=WELD, type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_BODY,
        name1=HOLDER, name2=task.object, solref=HOLDER_SOLREF, solimp=HOLDER_SOLIMP,
        # Anchor, relative position, relative rotation (identity), weight of rotation.
        data=equality_data(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )  # fmt: skip
