"""Runs a policy on a robot: one observation in, one joint command out, at the control rate.

Needs only NumPy and one inference engine. History, object filter, chunk execution and joint limits
are the same as in evaluation. Shapes: T history steps, S state numbers, H horizon, J joints (equal
to the number of action numbers A), B observations.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.layout import Layout
from pipeline.policy.observation import ObservationError
from pipeline.runtime.backends.backend import Backend
from pipeline.runtime.chunking import ChunkExecutor, Indices, Sampler
from pipeline.runtime.deployment import Deployment, DeploymentError
from pipeline.runtime.execution import ExecutionReport
from pipeline.runtime.guard.carried import carried_guard, other_noise
from pipeline.runtime.guard.findings import Finding
from pipeline.runtime.guard.objects import Objects
from pipeline.runtime.pose_filter import LEAST_LENGTH, ObjectFilter

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
OBJECT = ("object_pos", "object_axis")
NOISE = 0x4015E
"""Separates the noise's seed from other seeds. Evaluation uses it too: equal seeds, equal noise."""
NO_POSE = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
"""Placeholder for a missing ee_pose; the graph computes the pose from the joints."""


class Session:
    """Closed loop of one robot: its history, its current chunk and its noise.

    Sessions share nothing but the backend.
    """

    def __init__(
        self,
        backend: Backend,
        deployment: Deployment,
        seed: int = 0,
        control_hz: float | None = None,
    ) -> None:
        """Start with an empty history.

        Args:
            backend: computes chunks.
            deployment: execution settings and limits.
            seed: seed of the noise that chunks start from.
            control_hz: calls of `act` per second; None for the policy's own rate.

        Raises:
            DeploymentError: the policy's rate is unknown.
            ExecutionError: chunks are too short for the execution settings.
        """
        if backend.rate_hz is None:
            raise DeploymentError(
                "the policy was trained on data without a rate, so its steps have no duration; "
                "train on a data set that has the attribute rate_hz"
            )
        self._backend, self._seed = backend, seed
        self._steps = int(backend.config["n_obs_steps"])
        self._chunk = (1, int(backend.config["horizon"]), backend.layout.action_dim)
        self.control_hz = control_hz or backend.rate_hz
        self._noise_scale = np.float32(deployment.execution.noise_scale)
        self._ratio = self.control_hz / backend.rate_hz
        self._execution = deployment.execution
        guard = carried_guard(
            deployment.execution, backend.config, backend.layout.joints, deployment.limits
        )
        self._executor = ChunkExecutor(
            deployment.execution, deployment.limits, self._chunk[1], backend.rate_hz, control_hz,
            guard,
        )  # fmt: skip
        self._filter = ObjectFilter(deployment.execution)
        # Long enough for the oldest observation, which may lie between two control steps.
        self._past: deque[dict[str, Array]] = deque(
            maxlen=math.ceil((self._steps - 1) * self._ratio) + 2
        )
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
        self._started = False

    def act(self, observation: Mapping[str, ArrayLike] | ArrayLike) -> Array:
        """Compute the joint positions to command now.

        Args:
            observation: values in the layout's units, keyed by the names of its fields or their
                kinds (`joint_pos`, `pen_pos` or `object_pos`, …); `joint_vel` and `ee_pose` are
                optional. Or the state vector, shape (S,).

        Returns:
            Joint positions within the joint limits, rad. Shape (J,).

        Raises:
            DeploymentError: a field is missing, unknown or of the wrong shape.
            ObservationError: a number is not finite, or the object's axis has length 0.
        """
        seen = self._read(observation)
        bad = [kind for kind, values in seen.items() if not np.isfinite(values).all()]
        if bad:
            names = ", ".join(self._backend.layout.field(kind).name for kind in bad)
            raise ObservationError(f"the observation has a number that is not finite in {names}")
        if "object_axis" in seen:
            length = float(np.linalg.norm(seen["object_axis"]))
            if length < LEAST_LENGTH:
                name = self._backend.layout.field("object_axis").name
                raise ObservationError(
                    f"{name} has length {length:.2g}, expected 1: it must be the object's axis, a "
                    "unit vector in the base frame; check that it is filled in"
                )
        if not self._started:
            self._executor.reset(seen["joint_pos"][None])
            self._started = True
        objects = None
        if all(kind in seen for kind in OBJECT):
            objects = Objects(*self._filter.update(*(seen[kind][None] for kind in OBJECT)))
            seen["object_pos"], seen["object_axis"] = objects.position[0], objects.axis[0]
            if self._filter.jumped.any():
                self._executor.interrupt()
        self._past.append(seen)
        if self._executor.steps_left[0] == 0:
            noise = self._rng.standard_normal(self._chunk, dtype=np.float32)
            history = self.history()[None]
            chunk = self._backend.predict(history, self._noise_scale * noise)
            self._executor.add(chunk, objects=objects, sampler=self._sampler(history))
        self._acts += 1
        command: Array = self._executor.commands(1)[0, 0]
        return command

    def _sampler(self, history: Float32) -> Sampler:
        """Return a function that computes alternative chunks for the guard in one call."""

        def sample(_robots: Indices, count: int) -> Float32:
            shape = (count, *self._chunk[1:])
            noise = other_noise(self._execution, shape, self._chosen, self._acts)
            return self._backend.predict(np.repeat(history, count, axis=0), noise)[None]

        return sample

    @property
    def finding(self) -> Finding | None:
        """The guard's finding on the newest chunk; None without a guard or before any chunk."""
        report = self._executor.report().guard if self._started else None
        return None if report is None else report.last[0]

    def history(self) -> Float32:
        """The observations that the policy sees now, oldest first. Shape (T, S)."""
        newest = len(self._past) - 1
        ages = np.arange(self._steps)[::-1] * self._ratio
        return np.stack([self._at(max(newest - float(age), 0.0)) for age in ages])

    def report(self) -> ExecutionReport:
        """Return what was sent, and what the limits changed, since the reset."""
        return self._executor.report()

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

    def _read(self, observation: Mapping[str, ArrayLike] | ArrayLike) -> dict[str, Array]:
        layout = self._backend.layout
        if not isinstance(observation, Mapping):
            vector = np.asarray(observation, dtype=np.float64)
            if vector.shape != (layout.state_dim,):
                raise DeploymentError(
                    f"the observation has shape {vector.shape}, expected ({layout.state_dim},): "
                    f"{layout.describe()}"
                )
            return {field.kind: vector[field.slice].copy() for field in layout.state}
        names = {field.name: field.kind for field in layout.state}
        names |= {field.kind: field.kind for field in layout.state}
        unknown = [key for key in observation if key not in names]
        if unknown:
            raise DeploymentError(
                f"the observation has fields unknown to the policy: "
                f"{', '.join(map(repr, unknown))}; expected {layout.describe()}"
            )
        given = {names[key]: np.asarray(v, dtype=np.float64) for key, v in observation.items()}
        return {field.kind: self._field(field.kind, field.size, given) for field in layout.state}

    def _field(self, kind: str, size: int, given: dict[str, Array]) -> Array:
        name = self._backend.layout.field(kind).name
        if kind not in given:
            if kind == "joint_vel":
                return self._velocity(given.get("joint_pos", np.zeros(size)))
            if kind == "ee_pose":
                return NO_POSE.copy()
            raise DeploymentError(f"the observation lacks {name}; expected {size} numbers")
        if given[kind].shape != (size,):
            raise DeploymentError(f"{name} has shape {given[kind].shape}, expected ({size},)")
        return given[kind].copy()

    def _velocity(self, joint_pos: Array) -> Array:
        """Joint velocity as a backward difference, rad/s; zero at the first step. Shape (J,)."""
        if not self._past:
            return np.zeros_like(joint_pos)
        return (joint_pos - self._past[-1]["joint_pos"]) * self.control_hz


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

    def predict(self, obs: ArrayLike, noise: ArrayLike | None = None, seed: int = 0) -> Float32:
        """Compute raw chunks, without history, execution or limits.

        Args:
            obs: observations in the layout's units, oldest step first. Shape (T, S) or (B, T, S).
            noise: shape (B, H, A); None draws it from `seed` with the execution's `noise_scale`.
            seed: seed of that noise.

        Returns:
            Absolute joint positions, rad, shape (B, H, A); row 0 is the next command.

        Raises:
            ObservationError: a shape is wrong, or a number is not finite.
        """
        if noise is None:
            number = 1 if np.ndim(obs) == 2 else len(np.asarray(obs))
            shape = (number, *self._chunk[1:])
            normal = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
            noise = self._noise_scale * normal
        return self.backend.predict(obs, noise)
