"""Runs a policy on a robot: one observation in, one joint command out, at the control rate.

Needs only NumPy and one inference engine. History, object filter, chunk execution and joint limits
are the same as in evaluation. Shapes: T history steps, S numbers of an observation (the state, then
12 for each obstacle that the policy can see), H horizon, J joints (equal to the number of action
numbers A), B observations, K obstacles that the policy can see, M obstacles.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.clearance.objects import Objects
from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS
from pipeline.policy.observation import Obstacles, observations, obstacle_slots, with_obstacles
from pipeline.runtime.backends.backend import Backend
from pipeline.runtime.chunking import ChunkExecutor, Indices, Sampler
from pipeline.runtime.deployment import Deployment, DeploymentError
from pipeline.runtime.execution import ExecutionReport
from pipeline.runtime.guard.carried import carried_guard, other_noise
from pipeline.runtime.guard.findings import Finding
from pipeline.runtime.pose_filter import ObjectFilter
from pipeline.runtime.rehearsal import carried_rehearsal
from pipeline.runtime.robot_observation import Given, ObservationReader, have_changed

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
OBJECT = ("object_pos", "object_axis")
NOISE = 0x4015E
"""Separates the noise's seed from other seeds. Evaluation uses it too: equal seeds, equal noise."""


class Session:
    """Closed loop of one robot: its history, its current chunk and its noise.

    Sessions share nothing but the backend.
    """

    def __init__(
        self, backend: Backend, deployment: Deployment, seed: int = 0,
        control_hz: float | None = None,
    ) -> None:  # fmt: skip
        """Start with an empty history.

        Args:
            backend: computes chunks.
            deployment: execution settings and limits.
            seed: seed of the noise that chunks start from.
            control_hz: calls of `act` per second; None for the policy's own rate.

        Raises:
            DeploymentError: the policy's rate is unknown and needed.
            ExecutionError: chunks are too short for the execution settings.
        """
        generic, rate_hz = backend.layout.is_generic, backend.rate_hz
        if rate_hz is None and (control_hz is not None or not generic):
            raise DeploymentError(
                "the policy was trained on data without a rate, so its steps have no duration; "
                "train on a data set that has the attribute rate_hz"
            )
        # Without an arm a rate is only needed to convert between two; the policy counts in steps.
        rate_hz = rate_hz or 1.0
        self._backend, self._seed = backend, seed
        self._steps = int(backend.config["n_obs_steps"])
        self._chunk = (1, int(backend.config["horizon"]), backend.layout.action_dim)
        self.control_hz = control_hz or rate_hz
        self._noise_scale = np.float32(deployment.execution.noise_scale)
        self._ratio = self.control_hz / rate_hz
        self._slots = obstacle_slots(backend.config)
        self._reader = ObservationReader(backend.layout, self._slots, self.control_hz)
        self._execution = deployment.execution
        joints = backend.layout.joints
        guard = carried_guard(deployment.execution, backend.config, joints, deployment.limits)
        self._executor = ChunkExecutor(
            deployment.execution, deployment.limits, self._chunk[1], rate_hz, control_hz, guard
        )
        self._rehearsal = carried_rehearsal(
            deployment.execution, backend.config, backend.layout, deployment.limits, rate_hz
        )
        self._filter = ObjectFilter(deployment.execution)
        # Long enough for the oldest observation, which may lie between two control steps.
        length = math.ceil((self._steps - 1) * self._ratio) + 2
        self._past: deque[dict[str, Array]] = deque(maxlen=length)
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Clear history and chunks; call this before each episode and after any stop.

        Args:
            seed: seed of the noise from now on; None for the session's first seed.
        """
        chosen = self._seed if seed is None else seed
        self._rng = np.random.default_rng(np.random.SeedSequence([chosen, NOISE]))
        self._chosen, self._acts = chosen, 0
        self._past.clear()
        self._filter.reset(1)
        if self._rehearsal is not None:
            self._rehearsal.reset(1)
        self._started = False
        self._visible = self._checked = np.zeros((0, COLUMNS))

    def act(self, observation: Given) -> Array:
        """Compute the joint positions, or without an arm the action, to command now.

        Obstacles are not remembered: a call without them means that there are none now. Where they
        change between two calls, the rest of the chunk is dropped and a new one is checked at once.

        Args:
            observation: values in the layout's units, keyed by the names of its fields or their
                kinds (`joint_pos`, `pen_pos` or `object_pos`, …); `joint_vel` and `ee_pose` are
                optional, and so are `obstacles`, in the base frame, in the form that
                `pipeline.obstacles.parse` takes. Or the state vector, shape (state_dim,) or (S,).
                A policy that sees no obstacles takes any number of them, for its guard.

        Returns:
            Joint positions within the joint limits, rad, shape (J,). Without an arm, the action as
            the policy predicts it, shape (A,).

        Raises:
            DeploymentError: a field is missing, unknown or of the wrong shape.
            ObservationError: a number is not finite, or the object's axis has length 0.
            ObstacleError: an obstacle is malformed, or there are more than the policy can see.
        """
        before = self._past[-1].get("joint_pos") if self._past else None
        read = self._reader.read(observation, before)
        seen, obstacles, self._visible = read.state, read.obstacles, read.visible
        if not self._started:
            # Without an arm nothing is commanded before the first chunk.
            start = seen.get("joint_pos", np.zeros(self._chunk[2]))
            self._executor.reset(start[None])
            self._started = True
        objects = Objects.unknown(1, obstacles[None])
        if all(kind in seen for kind in OBJECT):
            pose = self._filter.update(*(seen[kind][None] for kind in OBJECT))
            objects = Objects(*pose, obstacles[None])
            seen["object_pos"], seen["object_axis"] = objects.position[0], objects.axis[0]
        if self._filter.jumped.any() or have_changed(self._checked, obstacles):
            self._executor.interrupt()
        self._past.append(seen)
        if self._executor.steps_left[0] == 0:
            history = self.history()[None]
            chunk = self._backend.predict(history, self._noise(history, objects))
            self._executor.add(chunk, objects=objects, sampler=self._sampler(history))
            self._checked = obstacles
        self._acts += 1
        command: Array = self._executor.commands(1)[0, 0]
        return command

    def _noise(self, history: Float32, objects: Objects) -> Float32:
        """Noise for the next chunk; it may first compute whole motions."""
        drawn = self._rng.standard_normal(self._chunk, dtype=np.float32)
        if self._rehearsal is None:
            return self._noise_scale * drawn
        one, seeds = np.zeros(1, dtype=np.int64), np.array([self._chosen])
        return self._rehearsal.noise(
            self._backend.predict, history, objects, one, seeds, self._acts
        )

    def _sampler(self, history: Float32) -> Sampler:
        """Return a function that computes alternative chunks for the guard in one call."""

        def sample(_robots: Indices, count: int) -> Float32:
            shape = (count, *self._chunk[1:])
            noise = other_noise(self._execution, shape, self._chosen, self._acts)
            return self._backend.predict(np.repeat(history, count, axis=0), noise)[None]

        return sample

    @property
    def may_rehearse(self) -> bool:
        """Whether the next call of `act` may compute whole motions ahead, which takes long."""
        if self._rehearsal is None or self.steps_left:
            return False
        return not self._started or self._rehearsal.may_be_due(self.history())

    @property
    def steps_left(self) -> int:
        """Calls of `act` until one needs the network, if nothing unexpected is observed."""
        return int(self._executor.steps_left[0]) if self._started else 0

    @property
    def finding(self) -> Finding | None:
        """The guard's finding on the newest chunk; None without a guard or before any chunk."""
        report = self._executor.report().guard if self._started else None
        return None if report is None else report.last[0]

    def history(self) -> Float32:
        """The observations that the policy sees now, oldest first. Shape (T, S)."""
        newest = len(self._past) - 1
        ages = np.arange(self._steps)[::-1] * self._ratio
        states = np.stack([self._at(max(newest - float(age), 0.0)) for age in ages])
        return with_obstacles(states, self._visible)

    def report(self) -> ExecutionReport:
        """Return what was sent, and what the limits changed, since the reset."""
        report = self._executor.report()
        if self._rehearsal is None:
            return report
        return replace(report, redirected=self._rehearsal.redirected.copy())

    def _at(self, instant: float) -> Float32:
        """State at an instant, given in control steps since the oldest stored one. Shape (S,)."""
        before = int(instant + 1e-9)
        share = instant - before
        state = self._past[before]
        if share > 1e-9:
            # Joints are interpolated between two steps; the object keeps its last observation.
            after = self._past[before + 1]
            joints = ("joint_pos", "joint_vel")
            mixed = {k: (1 - share) * state[k] + share * after[k] for k in joints if k in state}
            state = {**state, **mixed}
        return self._backend.layout.pack(
            {field.kind: state[field.kind] for field in self._backend.layout.state}
        )


class RobotPolicy(Session):
    """A loaded policy: `act` runs the closed loop of one robot, `predict` returns raw chunks.

    `pipeline.load_policy` creates it.

    Example:
        policy = pipeline.load_policy("artifacts/export")
        policy.reset()
        while running:
            send(policy.act({"joint_pos": q, "pen_pos": p, "pen_axis": a}))  # 30 times per second
    """

    def __init__(
        self,
        backend: Backend,
        name: str,
        deployment: Deployment,
        seed: int = 0,
        control_hz: float | None = None,
    ) -> None:
        """Wrap a backend.

        Args:
            backend: computes chunks.
            name: name of the backend: tensorrt, tensorrt-rtx, onnxruntime or torch.
            deployment: execution settings and limits.
            seed: seed of the noise.
            control_hz: calls of `act` per second; None for the policy's own rate.
        """
        super().__init__(backend, deployment, seed, control_hz)
        self.backend, self.name, self.deployment = backend, name, deployment

    @property
    def layout(self) -> Layout:
        """The meaning of observations and actions."""
        return self.backend.layout

    def session(self, seed: int = 0, control_hz: float | None = None) -> Session:
        """Create the closed loop of another robot on the same network.

        Args:
            seed: seed of its noise.
            control_hz: calls of its `act` per second; None for the policy's own rate.
        """
        return Session(self.backend, self.deployment, seed, control_hz)

    def predict(
        self,
        obs: ArrayLike,
        noise: ArrayLike | None = None,
        seed: int = 0,
        obstacles: Obstacles | None = None,
    ) -> Float32:
        """Compute raw chunks, without history, execution, guard or limits.

        Args:
            obs: observations in the layout's units, oldest step first. Shape (T, S) or (B, T, S);
                or without obstacles, shape (T, state_dim) or (B, T, state_dim).
            noise: shape (B, H, A); None draws it from `seed` with the execution's `noise_scale`.
            seed: seed of that noise.
            obstacles: around the arm of every observation, in the form that
                `pipeline.obstacles.parse` takes, or of each, shape (B, M, 12); None for none, or
                where `obs` includes them.

        Returns:
            Absolute joint positions, rad, shape (B, H, A); row 0 is the next command.

        Raises:
            ObservationError: a shape is wrong, or a number is not finite.
            ObstacleError: an obstacle is malformed, or there are more than the policy can see.
        """
        if noise is None:
            number = 1 if np.ndim(obs) == 2 else len(np.asarray(obs))
            shape = (number, *self._chunk[1:])
            normal = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
            noise = self._noise_scale * normal
        seen = observations(obs, self.layout, self._slots, obstacles)
        return self.backend.predict(seen, noise)
