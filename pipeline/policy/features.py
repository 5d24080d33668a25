"""Compute the network's features from raw observations.

Shapes: B observations, T history steps (n_obs_steps), S state numbers, F features.
It runs inside the exported graph, so it is plain tensor arithmetic. Ranges are scaled elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.kinematics import Geometry
from pipeline.layout import Layout
from pipeline.params import PolicyParams
from pipeline.policy.forward_kinematics import ForwardKinematics


class FeatureError(PipelineError):
    """policy.inputs names a field that the state does not have."""


class VectorFeatures(nn.Module):
    """Passes every number of the state on, where no arm is known."""

    def __init__(self, layout: Layout) -> None:
        """Name the features.

        Args:
            layout: the meaning of the state.
        """
        super().__init__()
        self.names = tuple(
            f"{field.name}[{index}]" for field in layout.state for index in range(field.size)
        )

    @property
    def num_features(self) -> int:
        """Features of one history step, F."""
        return len(self.names)

    def forward(self, obs: Tensor) -> Tensor:
        """Features (B, T, F) of raw observations (B, T, S): the same numbers."""
        return obs


class ObservationFeatures(nn.Module):
    """Selects and derives the policy's features, the same ones for every history step.

    Fields pass unchanged, in the order of `policy.inputs`, except two. A joint that turns without
    end becomes its cosine and sine, so that a whole turn changes nothing. For `ee_pose` the TCP's
    position and z axis are computed from `joint_pos`, so that they stay true when training moves
    the joints off the demonstrations. The rotation about that axis is in the last joint already,
    and a quaternion has two signs for one pose.

    With `object_in_tcp` the grasp relative to the gripper is added, with idle joints at zero: the
    offset of the grasped point and the object's axis, once unchanged and once through asinh. asinh
    resolves small values finely, since a millimetre matters near the goal, and compresses large
    ones.
    """

    def __init__(self, params: PolicyParams, layout: Layout, geometry: Geometry) -> None:
        """Choose the features.

        Args:
            params: section policy.
            layout: the meaning of the state.
            geometry: of arm and object.

        Raises:
            FeatureError: an input is not in the state, is named twice, or none is named.
            KinematicsError: the chain has a joint that the state lacks.
        """
        super().__init__()
        needed: list[str] = list(params.inputs)
        if not needed or len(set(needed)) != len(needed):
            raise FeatureError(
                f"policy.inputs is {needed}: expected one field or more, each named once"
            )
        self.sees_gripper = params.object_in_tcp or "ee_pose" in needed
        if self.sees_gripper:
            needed = [kind for kind in needed if kind != "ee_pose"] + ["joint_pos"]
        if params.object_in_tcp:
            needed += ["object_pos", "object_axis"]
        missing = sorted({kind for kind in needed if not layout.has(kind)})
        if missing:
            raise FeatureError(
                f"the policy needs {', '.join(missing)}, but the state is {layout.describe()}; "
                "change policy.inputs, policy.object_in_tcp or task.state_fields"
            )
        self.slices = {field.kind: field.slice for field in layout.state}
        self.kinds: tuple[str, ...] = tuple(params.inputs)
        self.object_in_tcp = params.object_in_tcp
        self.offset_scale_m, self.tilt_scale = params.offset_scale_m, params.tilt_scale
        self.grasp_offset_m = geometry.grasp_offset_m
        self.kinematics = ForwardKinematics(geometry.chain, layout.joints)
        endless = {joint.name for joint in geometry.chain.joints if joint.motion == "continuous"}
        self.endless = [i for i, name in enumerate(layout.joints) if name in endless]
        self.limited = [i for i, name in enumerate(layout.joints) if name not in endless]
        self.names = self._names(layout)
        self.goal: slice | None = None
        """Features that hold the vector from the TCP to the grasp in the TCP frame, m."""
        if self.object_in_tcp:
            first = self.names.index("grasp_in_tcp_x")
            self.goal = slice(first, first + 3)

    @property
    def num_features(self) -> int:
        """Features of one history step, F."""
        return len(self.names)

    def forward(self, obs: Tensor) -> Tensor:
        """Features of raw observations.

        Args:
            obs: shape (B, T, S), units of the layout.

        Returns:
            Shape (B, T, F): m, rad, rad/s, unit vectors, and asinh of some; not scaled.
        """
        # Numbers first, batch last: every feature is a row, every operation long and vectorised.
        rows = obs.flatten(0, 1).t().contiguous()
        parts = []
        position = rotation = rows
        if self.sees_gripper:
            position, rotation = self.kinematics.batch_last(rows[self.slices["joint_pos"]])
        for kind in self.kinds:
            if kind == "ee_pose":
                parts += [position, rotation[:, 2]]
            elif kind == "joint_pos" and self.endless:
                joints = rows[self.slices[kind]]
                angles = joints[self.endless]
                parts += [joints[self.limited], angles.cos(), angles.sin()]
            else:
                parts.append(rows[self.slices[kind]])
        if self.object_in_tcp:
            axis = rows[self.slices["object_axis"]]
            grasp = rows[self.slices["object_pos"]] + self.grasp_offset_m * axis
            both = torch.stack((grasp - position, axis), dim=1)
            # The transposed rotation, base frame to TCP frame: a sum over the base's axes.
            offset, axis = (both.unsqueeze(2) * rotation.unsqueeze(1)).sum(dim=0)
            near = torch.cat((offset / self.offset_scale_m, axis[:2] / self.tilt_scale))
            parts += [offset, axis[2:], near.asinh()]
        return torch.cat(parts).t().reshape(*obs.shape[:2], -1)

    def _names(self, layout: Layout) -> tuple[str, ...]:
        names: list[str] = []
        for kind in self.kinds:
            if kind == "ee_pose":
                names += [f"tcp_{axis}" for axis in "xyz"] + [f"tcp_z_axis_{a}" for a in "xyz"]
            elif kind == "joint_pos":
                names += [f"joint_pos[{index}]" for index in self.limited]
                names += [f"{f}_joint_pos[{i}]" for f in ("cos", "sin") for i in self.endless]
            else:
                field = layout.field(kind)
                names += [f"{field.name}[{index}]" for index in range(field.size)]
        if self.object_in_tcp:
            names += [f"grasp_in_tcp_{axis}" for axis in "xyz"] + ["axis_in_tcp_z"]
            names += [f"asinh_grasp_in_tcp_{axis}" for axis in "xyz"]
            names += [f"asinh_axis_in_tcp_{axis}" for axis in "xy"]
        return tuple(names)
