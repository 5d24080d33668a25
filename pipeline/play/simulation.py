"""One arm that the policy drives on the simulated servo, step by step, with knobs to disturb it.

P physics steps in a control step, H steps of a chunk, K steps to send, J joints.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.disturbance import Sensor
from pipeline.evaluation.robustness import Condition, make_simulator
from pipeline.evaluation.rollout import SENSOR
from pipeline.obstacles import parse
from pipeline.params import Params
from pipeline.play.watched_session import WatchedSession
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import continue_quaternions
from pipeline.runtime.guard.findings import Finding
from pipeline.runtime.session import RobotPolicy

Array = NDArray[np.float64]
GuardMode = Literal["off", "check", "repair"]
Box = Mapping[str, Sequence[float]]
"""A box as `Session.act` takes it: centre_m, size_m and quaternion (xyzw)."""


@dataclass(frozen=True)
class Knobs:
    """What a user can change while the arm moves."""

    condition: Condition
    """Servo, sensor, latency and control rate, as in the robustness suite."""
    guard: GuardMode


@dataclass(frozen=True)
class Chunk:
    """A new chunk and what the guard said."""

    wanted: Array
    """TCP positions of the policy's own chunk, m. Shape (H, 3)."""
    sent: Array
    """TCP positions of what will be sent, m. Shape (K, 3)."""
    finding: Finding | None
    """None without a guard."""
    milliseconds: float
    """Time that the chunk and its check took."""


@dataclass(frozen=True)
class Step:
    """One executed control step."""

    motion: Array
    """Joint positions at the start and at each physics step, rad. Shape (P + 1, J)."""
    error_mm: float
    """Distance of the TCP from the object's cap, mm."""
    error_deg: float
    """Angle between the gripper's z axis and the object's axis, degrees."""
    reached: bool
    """Whether the arm was at the grasp and touched nothing in the last `task.settle_steps`."""
    contact: tuple[str, str] | None
    """The first two bodies that touched in this step; None if none did."""
    chunk: Chunk | None
    """None if the step went on with an earlier chunk."""


class Simulation:
    """The closed loop of one arm: session, simulated servo, sensor and collision checker."""

    def __init__(self, params: Params, policy: RobotPolicy, seed: int = 0) -> None:
        """Place the arm at home and the object in the middle of its range.

        Args:
            params: sections robot, task and evaluate.
            policy: the loaded policy.
            seed: seed of the policy's noise and of the sensor's errors.
        """
        self.params, self._policy, self._seed = params, policy, seed
        self.policy_hz = policy.control_hz
        self.checker = CollisionChecker(params.robot, params.task)
        self.model = self.checker.model
        self.knobs = Knobs(Condition("", 0, ""), policy.deployment.execution.guard)
        self.boxes: tuple[Box, ...] = ()
        self.object_axis = np.array([0.0, 0.0, 1.0])
        middle = np.mean([params.task.cap_min_m, params.task.cap_max_m], axis=0)
        self.object_pos = middle - self.object_axis * params.task.object_length_m / 2
        self.reset()

    @property
    def rate_hz(self) -> float:
        """Control steps per second."""
        return self.knobs.condition.control_hz or self.policy_hz

    @property
    def joint_pos(self) -> Array:
        """Present joint positions, rad. Shape (J,)."""
        return np.asarray(self._simulator.joint_pos[0])

    def reset(self, start: Array | None = None) -> None:
        """Place the arm at rest with an empty history.

        Args:
            start: joint positions, rad; None for home. Shape (J,).
        """
        joint_pos = self.model.home if start is None else start
        self._simulator = make_simulator(self.params, self.knobs.condition, self.policy_hz, 1)
        self._simulator.reset(joint_pos[None])
        deployment = self._policy.deployment
        execution = replace(deployment.execution, guard=self.knobs.guard)
        self._session = WatchedSession(
            self._policy.backend, replace(deployment, execution=execution), self._seed, self.rate_hz
        )
        self._past: deque[dict[str, Any]] = deque()
        self._make_sensor()
        pose = self.model.fk(joint_pos)
        self._quaternion = pose[3:]
        self._observe(joint_pos, np.zeros_like(joint_pos), pose)
        self._forget_errors()

    def change(self, knobs: Knobs) -> None:
        """Turn knobs. The arm stays where it is, and a new servo or session starts at rest.

        Args:
            knobs: the new settings.
        """
        old, self.knobs = self.knobs, knobs
        before, now = old.condition, knobs.condition
        rebuilt = ("gain_scale", "interpolate", "control_hz")
        if old.guard != knobs.guard or any(getattr(before, k) != getattr(now, k) for k in rebuilt):
            self.reset(self.joint_pos)
        elif before.disturbance != now.disturbance:
            self._make_sensor()

    def move_object(self, position: Array, axis: Array) -> None:
        """Move the object; the policy sees it at the next step.

        Args:
            position: centre, m, base frame. Shape (3,).
            axis: axis towards the cap, of any length above 0. Shape (3,).
        """
        self.object_pos = np.array(position, dtype=np.float64)
        self.object_axis = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
        self._forget_errors()

    def place(self, boxes: Sequence[Box]) -> None:
        """Replace the boxes.

        Args:
            boxes: all boxes besides those of the scene in params.yaml.
        """
        self.boxes = tuple(boxes)
        self.checker.place_obstacles(parse(self.boxes))
        self._forget_errors()

    def step(self) -> Step:
        """Run one control step."""
        latency = self.knobs.condition.disturbance.latency_steps
        seen = self._past[max(len(self._past) - 1 - latency, 0)]
        command = self._session.act({**seen, "obstacles": self.boxes})
        chunk = self._new_chunk()
        start = self.joint_pos
        joint_pos, joint_vel = self._simulator.run(command[None, None])
        motion = np.concatenate([start[None], self._simulator.motion[0]])
        contact = self.checker.first_contact(motion, self.object_pos, self.object_axis)
        pose = self.model.fk(joint_pos[0, 0])
        self._observe(joint_pos[0, 0], joint_vel[0, 0], pose)
        error = metrics.reach_error(
            pose, self.object_pos, self.object_axis, self.params.task.object_length_m
        )
        self._newest.append((error, contact is not None))
        return Step(
            motion,
            float(error.cap_m) * 1e3,
            float(error.angle_deg),
            self._reached(),
            None if contact is None else contact[1:],
            chunk,
        )

    def _new_chunk(self) -> Chunk | None:
        wanted = self._session.chunk
        if wanted is None:
            return None
        return Chunk(
            self.model.fk(wanted)[:, :3],
            self.model.fk(self._session.upcoming)[:, :3],
            self._session.finding,
            self._session.seconds * 1e3,
        )

    def _make_sensor(self) -> None:
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, SENSOR]))
        disturbance = self.knobs.condition.disturbance
        self._sensor = Sensor(disturbance, [rng])
        self._past = deque(self._past, maxlen=disturbance.latency_steps + 1)

    def _observe(self, joint_pos: Array, joint_vel: Array, pose: Array) -> None:
        pose[3:] = continue_quaternions(self._quaternion, pose[3:])
        self._quaternion = pose[3:]
        position, axis = self._sensor.observe(self.object_pos[None], self.object_axis[None])
        values = {
            "joint_pos": joint_pos,
            "joint_vel": joint_vel,
            "ee_pose": pose,
            "object_pos": position[0],
            "object_axis": axis[0],
        }
        known = {field.kind for field in self._policy.layout.state}
        self._past.append({kind: value for kind, value in values.items() if kind in known})

    def _forget_errors(self) -> None:
        """Judge anew, because the arm or the goal has changed."""
        ratio = self.rate_hz / self.policy_hz
        steps = max(round(self.params.task.settle_steps * ratio), 1)
        self._newest: deque[tuple[metrics.ReachError, bool]] = deque(maxlen=steps)

    def _reached(self) -> bool:
        steps = self._newest.maxlen or 1
        if len(self._newest) < steps:
            return False
        errors = [error for error, _ in self._newest]
        whole = metrics.ReachError(
            *(
                np.array([[float(getattr(error, name)) for error in errors]])
                for name in ("cap_m", "axis_m", "angle_deg")
            )
        )
        touched = any(touched for _, touched in self._newest)
        task = self.params.task.model_copy(update={"settle_steps": steps})
        return bool(metrics.success(whole, np.array([touched]), task)["collision_free"][0])
