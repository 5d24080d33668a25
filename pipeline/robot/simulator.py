"""Simulates many arms under their position servos at once, in MuJoCo.

The bodies come from the URDF and gravity is compensated. Contacts are off: `robot.collision` checks
the motion afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from mujoco.rollout import Rollout
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.machine import available_cores
from pipeline.params import RobotParams
from pipeline.robot.description import urdf_text
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]
STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS
FINGER_KP_N_M = 2e4
FINGER_ARMATURE_KG = 0.5
"""Inertia of motor and gears at a finger (assumed). It smooths the closing and does not change how
firm the grasp is."""


class SimulationError(PipelineError):
    """The simulator cannot be built, or an array has the wrong shape."""


class Simulator:
    """N arms that follow commanded joint positions.

    Each joint has a position actuator: torque = kp·(command − q) − kv·q̇ within the URDF's effort
    limit. kv follows from the damping ratio at the home pose's inertia; params.yaml gives the rotor
    inertia. The state of the arms is kept between calls.
    """

    def __init__(
        self,
        robot: RobotParams,
        rate_hz: float,
        physics_steps: int,
        gain_scale: float = 1.0,
        threads: int | None = None,
        interpolate: bool = True,
    ):
        """Build the model.

        Args:
            robot: description file and servo.
            rate_hz: control rate, Hz.
            physics_steps: physics steps per control period.
            gain_scale: factor on kp; the damping ratio stays.
            threads: physics threads; None takes one per core that this process may use.
            interpolate: whether commands are interpolated linearly within a period, as a
                controller does, or applied in full from its start.

        Raises:
            ModelError: the URDF is missing or lacks a joint.
            SimulationError: MuJoCo cannot read the URDF.
        """
        self._arm = RobotModel.from_params(robot)
        self.rate_hz = rate_hz
        self._physics_steps, self._interpolate = physics_steps, interpolate
        self._model = _build(robot, self._arm, 1.0 / (rate_hz * physics_steps), gain_scale)
        joints = [self._model.joint(name) for name in robot.joints]
        self._positions = np.array([joint.qposadr[0] for joint in joints])
        self._velocities = np.array([joint.dofadr[0] for joint in joints])
        cores = available_cores() if threads is None else threads
        self._rollout = Rollout(nthread=cores if cores > 1 else 0)
        self._data = [mujoco.MjData(self._model) for _ in range(max(cores, 1))]
        self._state: Array = np.zeros((0, mujoco.mj_stateSize(self._model, STATE.value)))
        self._command: Array = np.zeros((0, len(joints)))
        self.motion: Array = np.zeros((0, 0, len(joints)))
        """Joint positions at each physics step of the last `run`, rad. Shape (N, K · P, J)."""

    @property
    def joint_pos(self) -> Array:
        """Present joint positions of the arms, rad, shape (N, J)."""
        return self._unpack(self._state[:, None])[0][:, 0]

    def reset(self, joint_pos: Array) -> None:
        """Place the arms at rest and command them to stay there.

        Args:
            joint_pos: rad, shape (N, J).

        Raises:
            SimulationError: the shape is wrong.
        """
        joint_pos = np.asarray(joint_pos, dtype=np.float64)
        if joint_pos.ndim != 2 or joint_pos.shape[1] != len(self._arm.joints):
            raise SimulationError(
                f"reset with joint positions of shape {joint_pos.shape}, "
                f"expected (N, {len(self._arm.joints)})"
            )
        data = self._data[0]
        mujoco.mj_resetData(self._model, data)
        rows = []
        for row in joint_pos:
            data.qpos[self._positions] = row
            state = np.empty(self._state.shape[1])
            mujoco.mj_getState(self._model, data, state, STATE.value)
            rows.append(state)
        self._state = np.array(rows).reshape(len(joint_pos), self._state.shape[1])
        self._command = joint_pos.copy()

    def run(self, commands: Array) -> tuple[Array, Array]:
        """Follow commands.

        Within a control period the command moves linearly from the previous one to the new one, or
        is constant (see `interpolate`).

        Args:
            commands: joint positions, rad, shape (N, K, J), N as in `reset`.

        Returns:
            Joint positions, rad, and velocities, rad/s, at the end of each period, (N, K, J) each.

        Raises:
            SimulationError: the shape is wrong, or a command is not finite.
        """
        commands = np.asarray(commands, dtype=np.float64)
        number, joints = self._command.shape
        if commands.ndim != 3 or (commands.shape[0], commands.shape[2]) != (number, joints):
            raise SimulationError(
                f"commands have shape {commands.shape}, expected ({number}, K, {joints}): "
                f"reset() placed {number} arms"
            )
        if not np.isfinite(commands).all():
            raise SimulationError("a command is not finite; expected joint positions in rad")
        if commands.size == 0:
            self.motion = np.zeros((number, 0, joints))
            return np.zeros_like(commands), np.zeros_like(commands)
        previous = np.concatenate([self._command[:, None], commands[:, :-1]], axis=1)
        share = np.arange(1, self._physics_steps + 1)[:, None] / self._physics_steps
        if not self._interpolate:
            share = np.ones_like(share)
        control = previous[:, :, None] + share * (commands - previous)[:, :, None]
        control = control.reshape(number, -1, joints)
        states, _ = self._rollout.rollout(self._model, self._data, self._state, control)
        self._state, self._command = states[:, -1].copy(), commands[:, -1].copy()
        self.motion, joint_vel = self._unpack(states)
        ends = slice(self._physics_steps - 1, None, self._physics_steps)
        return self.motion[:, ends].copy(), joint_vel[:, ends].copy()

    def _unpack(self, states: Array) -> tuple[Array, Array]:
        """Take joint positions and velocities from full states (…, S); the time comes first."""
        joint_pos = states[..., 1 + self._positions]
        joint_vel = states[..., 1 + self._model.nq + self._velocities]
        return joint_pos, joint_vel


def _build(robot: RobotParams, arm: RobotModel, timestep_s: float, gain_scale: float) -> Any:
    spec = arm_spec(robot, arm, timestep_s, gain_scale)
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value
    # Without contacts nothing needs the shapes, whose poses take a fifth of a step. The URDF gives
    # the inertias.
    for shape in list(spec.geoms):
        spec.delete(shape)
    return spec.compile()


def arm_spec(
    robot: RobotParams,
    arm: RobotModel,
    timestep_s: float,
    gain_scale: float = 1.0,
    keep_links: bool = False,
) -> Any:
    """Describe the arm with its servo, for callers to extend and compile.

    The actuators are in joint order.

    Args:
        robot: description file and servo.
        arm: limits and home of the same arm.
        timestep_s: time step of the physics, s.
        gain_scale: factor on kp; the damping ratio stays.
        keep_links: keep links without a joint as separate bodies, so that joints can be added.

    Returns:
        A `mujoco.MjSpec`.

    Raises:
        SimulationError: MuJoCo cannot read the URDF.
    """
    try:
        spec = mujoco.MjSpec.from_string(urdf_text(robot.urdf))
        for joint in list(spec.joints):
            if joint.name not in robot.joints:
                spec.delete(joint)
        if keep_links:
            spec.compiler.fusestatic = False
        spec.option.timestep = timestep_s
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        for body in spec.bodies:
            body.gravcomp = 1.0
        for name, armature in zip(robot.joints, robot.servo.armature_kg_m2, strict=True):
            spec.joint(name).armature = armature
        inertia = _home_inertia(spec.compile(), arm)
        for i, name in enumerate(robot.joints):
            kp = robot.servo.kp[i] * gain_scale
            actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            kv = 2 * robot.servo.damping_ratio * (kp * inertia[i]) ** 0.5
            actuator.set_to_position(kp=kp, kv=kv)
            effort = float(arm.effort_limits[i])
            if np.isfinite(effort):
                actuator.forcelimited = True
                actuator.forcerange = [-effort, effort]
        return spec
    except ValueError as error:
        raise SimulationError(f"{robot.urdf}: MuJoCo cannot use it: {error}") from error


def add_fingers(
    spec: Any, robot: RobotParams, solref: Sequence[float], solimp: Sequence[float]
) -> None:
    """Add moving fingers that one motor closes together, to the last control.

    Args:
        spec: the arm, from `arm_spec` with its links kept.
        robot: the gripper.
        solref: MuJoCo's time constant and damping ratio of the coupling of the fingers.
        solimp: MuJoCo's impedance of that coupling.
    """
    gripper = robot.gripper
    for finger, direction in zip(gripper.fingers, gripper.closing, strict=True):
        spec.body(finger).add_joint(
            name=finger, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=direction,
            range=[0.0, gripper.stroke_m], limited=True, armature=FINGER_ARMATURE_KG,
        )  # fmt: skip
        if finger != gripper.fingers[0]:
            spec.add_equality(
                type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT,
                name1=finger, name2=gripper.fingers[0], data=equality_data(0.0, 1.0),
                solref=solref, solimp=solimp,
            )  # fmt: skip
    motor = spec.add_actuator(
        name="gripper", target=gripper.fingers[0], trntype=mujoco.mjtTrn.mjTRN_JOINT
    )
    number = len(gripper.fingers)
    kp = FINGER_KP_N_M * number
    motor.set_to_position(kp=kp, kv=2 * (kp * FINGER_ARMATURE_KG * number) ** 0.5)
    motor.forcelimited = True
    motor.forcerange = [-number * gripper.force_n, number * gripper.force_n]


def equality_data(*numbers: float) -> Array:
    """Pad the numbers of an equality constraint to the length that MuJoCo expects.

    Args:
        numbers: the first numbers; the others are 0.
    """
    data = np.zeros(mujoco.mjNEQDATA)
    data[: len(numbers)] = numbers
    return data


def _home_inertia(model: Any, arm: RobotModel) -> Array:
    """Compute the diagonal of the joint-space inertia at home with rotors, kg·m², shape (J,)."""
    data = mujoco.MjData(model)
    joints = [model.joint(name) for name in arm.joints]
    data.qpos[[joint.qposadr[0] for joint in joints]] = arm.home
    mujoco.mj_forward(model, data)
    full = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, full)
    return np.diag(full)[[joint.dofadr[0] for joint in joints]]
