"""Reads what a robot passes to `act`: the values of the layout's fields, and the obstacles.

Shapes: S state numbers, J joints, M obstacles, K obstacles that the policy can see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS, pad, parse, rotations, used
from pipeline.policy.observation import ObservationError
from pipeline.runtime.deployment import DeploymentError
from pipeline.runtime.pose_filter import LEAST_LENGTH

Array = NDArray[np.float64]
Given = Mapping[str, ArrayLike | Sequence[Mapping[str, Any]]] | ArrayLike
"""What a robot passes: values by name, or one vector."""
OBSTACLES = "obstacles"
"""Key of the obstacles among the values."""
NO_POSE = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
"""Placeholder for a missing ee_pose; the graph computes the pose from the joints."""
MOVED_M = 0.001
"""A centre or a size that differs by more has changed, m: a fifth of the guard's least distance,
and more than a camera's noise on an obstacle at rest should be after filtering."""
TURNED_RAD = np.radians(0.5)
"""An orientation that differs by more has changed; this moves a point 10 cm away by 0.9 mm."""


@dataclass(frozen=True)
class RobotObservation:
    """What the robot sees at one control step."""

    state: dict[str, Array]
    """Values of the layout's fields, by kind."""
    obstacles: Array
    """All obstacles; see `pipeline.obstacles`. Shape (M, 12)."""
    visible: Array
    """What the policy sees of them, with unused rows. Shape (K, 12)."""


class ObservationReader:
    """Reads and checks the observations for one policy."""

    def __init__(self, layout: Layout, slots: int, control_hz: float) -> None:
        """Store what the policy expects.

        Args:
            layout: the meaning of the state's numbers.
            slots: obstacles that the policy can see, K; 0 if it sees none.
            control_hz: observations per second.
        """
        self._layout, self._slots, self._control_hz = layout, slots, control_hz

    def read(self, observation: Given, before: Array | None) -> RobotObservation:
        """Read one observation.

        Args:
            observation: see `Session.act`.
            before: joint positions of the observation before, rad, shape (J,); None at first.

        Raises:
            DeploymentError: a field is missing, unknown or of the wrong shape.
            ObservationError: a number is not finite, or the object's axis has length 0.
            ObstacleError: an obstacle is malformed, or there are more than the policy can see.
        """
        if isinstance(observation, Mapping):
            given = dict(observation)
            rows = parse(given.pop(OBSTACLES, ()))
            state = self._fields(given, before)
        else:
            state, rows = self._vector(np.asarray(observation, dtype=np.float64))
        self._check(state)
        visible = pad(rows, self._slots) if self._slots else np.zeros((0, COLUMNS))
        return RobotObservation(state, rows, visible)

    def _vector(self, vector: Array) -> tuple[dict[str, Array], Array]:
        """Split a state vector, and the obstacles that follow it where the policy sees any."""
        layout, width = self._layout, self._layout.state_dim
        wide = width + self._slots * COLUMNS
        if vector.shape not in ((width,), (wide,)):
            obstacles = f" or ({wide},), with {self._slots} obstacles," if self._slots else ""
            raise DeploymentError(
                f"the observation has shape {vector.shape}, expected ({width},){obstacles}: "
                f"{layout.describe()}"
            )
        state = {field.kind: vector[field.slice].copy() for field in layout.state}
        return state, used(parse(vector[width:].reshape(-1, COLUMNS)))

    def _fields(self, observation: Mapping[str, Any], before: Array | None) -> dict[str, Array]:
        layout = self._layout
        names = {field.name: field.kind for field in layout.state}
        names |= {field.kind: field.kind for field in layout.state}
        unknown = [key for key in observation if key not in names]
        if unknown:
            raise DeploymentError(
                f"the observation has fields unknown to the policy: "
                f"{', '.join(map(repr, unknown))}; expected {layout.describe()}, and {OBSTACLES} "
                "where there are any"
            )
        given = {names[key]: np.asarray(v, dtype=np.float64) for key, v in observation.items()}
        return {
            field.kind: self._field(field.kind, field.size, given, before) for field in layout.state
        }

    def _field(self, kind: str, size: int, given: dict[str, Array], before: Array | None) -> Array:
        name = self._layout.field(kind).name
        if kind not in given:
            if kind == "joint_vel":
                # Backward difference, rad/s; zero at the first step.
                joint_pos = given.get("joint_pos", np.zeros(size))
                return (joint_pos - (joint_pos if before is None else before)) * self._control_hz
            if kind == "ee_pose":
                return NO_POSE.copy()
            raise DeploymentError(f"the observation lacks {name}; expected {size} numbers")
        if given[kind].shape != (size,):
            raise DeploymentError(f"{name} has shape {given[kind].shape}, expected ({size},)")
        return given[kind].copy()

    def _check(self, state: dict[str, Array]) -> None:
        bad = [kind for kind, values in state.items() if not np.isfinite(values).all()]
        if bad:
            names = ", ".join(self._layout.field(kind).name for kind in bad)
            raise ObservationError(f"the observation has a number that is not finite in {names}")
        if "object_axis" in state:
            length = float(np.linalg.norm(state["object_axis"]))
            if length < LEAST_LENGTH:
                name = self._layout.field("object_axis").name
                raise ObservationError(
                    f"{name} has length {length:.2g}, expected 1: it must be the object's axis, a "
                    "unit vector in the base frame; check that it is filled in"
                )


def have_changed(before: Array, now: Array) -> bool:
    """Whether an obstacle appeared, vanished, moved, turned or changed its size.

    The order of the obstacles does not matter.

    Args:
        before: shape (M, 12).
        now: shape (N, 12).
    """
    if np.array_equal(before, now):
        return False
    numbers = np.abs(before[:, None] - now) <= MOVED_M
    same = numbers[..., :3].all(axis=-1) & numbers[..., 7:].all(axis=-1)
    # The trace of the rotation from one to the other is 1 + 2 cos(angle).
    trace = np.einsum("mij,nij->mn", rotations(before[:, 3:7]), rotations(now[:, 3:7]))
    same &= trace >= 1 + 2 * np.cos(TURNED_RAD)
    return not (same.any(axis=0).all() and same.any(axis=1).all())
