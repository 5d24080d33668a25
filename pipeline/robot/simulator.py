"""The arm under its position servo, many arms at once, in MuJoCo.

Bodies from the URDF, gravity compensated, contacts off: collisions are judged elsewhere on the
motion. Knows nothing of plans or policies, only commanded joint positions.
"""

from __future__ import annotations

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


class SimulationError(PipelineError):
    """The simulator cannot be built, or was given arrays that do not fit."""


class Simulator:
    """N arms that follow commanded joint positions.

    Each joint has a position actuator: torque = kp·(command − q) − kv·q̇ within the URDF's effort
    limit, kv from the damping ratio at the home pose's inertia, rotor inertia from params.yaml.
    Between two control periods the state of the arms is kept.
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
            rate_hz: control periods a second.
            physics_steps: steps of the physics in one control period.
            gain_scale: factor on kp; the damping ratio stays.
            threads: threads of the physics; None takes one per core that this process may use.
            interpolate: whether a command is approached evenly within its period, as a controller
                interpolates, or stands in full from the period's start.

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
        """Where the arms are now, rad, shape (N, J)."""
        return self._unpack(self._state[:, None])[0][:, 0]

    def reset(self, joint_pos: Array) -> None:
        """Put arms at rest, commanded to stay.

        Args:
            joint_pos: rad, shape (N, J).

        Raises:
            SimulationError: the shape does not fit.
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

        Within a control period the command runs straight from the one before to the new one, or
        stands (`interpolate`); the arm is looked at when the period ends.

        Args:
            commands: joint positions, rad, shape (N, K, J), N as in `reset`.

        Returns:
            Joint positions (rad) and velocities (rad/s) at the end of each period, (N, K, J) both.

        Raises:
            SimulationError: the shape does not fit, or a command is not finite.
        """
        commands = np.asarray(commands, dtype=np.float64)
        number, joints = self._command.shape
        if commands.ndim != 3 or (commands.shape[0], commands.shape[2]) != (number, joints):
            raise SimulationError(
                f"commands have shape {commands.shape}, expected ({number}, K, {joints}): "
                f"reset() put {number} arms in place"
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
        """Joint positions and velocities out of full states (…, S), which begin with the time."""
        joint_pos = states[..., 1 + self._positions]
        joint_vel = states[..., 1 + self._model.nq + self._velocities]
        return joint_pos, joint_vel


def _build(robot: RobotParams, arm: RobotModel, timestep_s: float, gain_scale: float) -> Any:
    spec = arm_spec(robot, arm, timestep_s, gain_scale)
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value
    return spec.compile()


def arm_spec(
    robot: RobotParams,
    arm: RobotModel,
    timestep_s: float,
    gain_scale: float = 1.0,
    keep_links: bool = False,
) -> Any:
    """The arm with its servo, to be added to and compiled. Its actuators are in joint order.

    Args:
        robot: description file and servo.
        arm: the same arm's limits and home.
        timestep_s: of the physics.
        gain_scale: factor on kp; the damping ratio stays.
        keep_links: leave links without a joint bodies of their own, so that one can be added.

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


def _home_inertia(model: Any, arm: RobotModel) -> Array:
    """Diagonal of the joint-space inertia at home, rotors included, kg·m², (J,)."""
    data = mujoco.MjData(model)
    joints = [model.joint(name) for name in arm.joints]
    data.qpos[[joint.qposadr[0] for joint in joints]] = arm.home
    mujoco.mj_forward(model, data)
    full = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, full)
    return np.diag(full)[[joint.dofadr[0] for joint in joints]]
