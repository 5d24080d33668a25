"""Records rollouts, and the history that a policy observes in them.

N rollouts, K control steps, P physics steps of a control step, J joints, O observations, S state
numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.objects import Objects
from pipeline.evaluation.disturbance import Sensor
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.robot.model import RobotModel, continue_quaternions
from pipeline.runtime.pose_filter import ObjectFilter

Array = NDArray[np.float64]
Observations = NDArray[np.float32]
"""Shape (N, O, S); where the policy sees obstacles, S includes 12 numbers for each slot."""


class Recorder:
    """Records the rollouts and the history that a policy observes."""

    def __init__(
        self,
        model: RobotModel,
        layout: Layout,
        start: Array,
        sensor: Sensor,
        object_filter: ObjectFilter,
        objects: Trials,
    ) -> None:
        """Start with arms at rest.

        Args:
            model: the arm.
            layout: fields of an observation.
            start: joint positions, rad. Shape (N, J).
            sensor: errors of the observed objects.
            object_filter: the filter that the runtime uses too.
            objects: N objects.
        """
        self._model, self._layout = model, layout
        self._sensor, self._filter = sensor, object_filter
        self._filter.reset(len(start))
        self.objects = objects
        """Present poses of the objects."""
        pose = model.fk(start)
        self._quaternion = pose[:, 3:]
        self._states = [self._observe(start, np.zeros_like(start), pose)]
        self._joint_pos: list[Array] = []
        self._command: list[Array] = []
        self._ee_pose: list[Array] = []
        self._motion = [start[:, None]]

    @property
    def seen_objects(self) -> Objects:
        """Poses of the objects in the last observation."""
        last = self._states[-1]
        return Objects(last["object_pos"], last["object_axis"])

    @property
    def object_jumped(self) -> NDArray[np.bool_]:
        """Whether each robot's last observation revealed a moved object. Shape (N,)."""
        return self._filter.jumped

    def observation(self, ages: Array) -> Observations:
        """Look up past observations. Before the start, the arm is assumed to be at rest.

        Args:
            ages: age of each observation, control steps; fractions are allowed. Shape (O,).

        Returns:
            Observations in the order of `ages`. Shape (N, O, S).
        """
        return np.stack([self._at(len(self._states) - 1 - float(age)) for age in ages], axis=1)

    def _at(self, instant: float) -> Observations:
        instant = max(instant, 0.0)
        before = int(instant + 1e-9)
        share = instant - before
        if share < 1e-9:
            return self._pack(self._states[before])
        first, second = self._states[before], self._states[before + 1]
        # Joints are interpolated between two steps; the object keeps its last observation.
        mixed = {
            key: (1 - share) * first[key] + share * second[key]
            for key in ("joint_pos", "joint_vel")
        }
        pose = self._model.fk(mixed["joint_pos"])
        pose[:, 3:] = continue_quaternions(first["ee_pose"][:, 3:], pose[:, 3:])
        return self._pack({**first, **mixed, "ee_pose": pose})

    def add(self, command: Array, joint_pos: Array, joint_vel: Array, motion: Array) -> None:
        """Append executed control steps.

        Args:
            command: joint positions sent to the servo, rad. Shape (N, K, J).
            joint_pos: measured positions, rad. Shape (N, K, J).
            joint_vel: measured velocities, rad/s. Shape (N, K, J).
            motion: positions at each physics step, rad. Shape (N, K · P, J).
        """
        pose = self._model.fk(joint_pos)
        for step in range(pose.shape[1]):
            pose[:, step, 3:] = continue_quaternions(self._quaternion, pose[:, step, 3:])
            self._quaternion = pose[:, step, 3:]
            self._states.append(
                self._observe(joint_pos[:, step], joint_vel[:, step], pose[:, step])
            )
        self._joint_pos.append(joint_pos)
        self._command.append(command)
        self._ee_pose.append(pose)
        self._motion.append(motion)

    def motion(self) -> tuple[Array, Array, Array, Array]:
        """Return joint positions, commands, TCP poses and physics steps, as in `Rollouts`."""
        parts = (self._joint_pos, self._command, self._ee_pose, self._motion)
        joint_pos, command, ee_pose, motion = (np.concatenate(part, axis=1) for part in parts)
        return joint_pos, command, ee_pose, motion

    def _observe(self, joint_pos: Array, joint_vel: Array, ee_pose: Array) -> dict[str, Array]:
        seen = self._sensor.observe(self.objects.object_pos, self.objects.object_axis)
        position, axis = self._filter.update(*seen)
        return {
            "joint_pos": joint_pos,
            "joint_vel": joint_vel,
            "ee_pose": ee_pose,
            "object_pos": position,
            "object_axis": axis,
        }

    def _pack(self, values: dict[str, Array]) -> Observations:
        return self._layout.pack({field.kind: values[field.kind] for field in self._layout.state})
