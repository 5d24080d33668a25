"""What the network is shown: raw observations in, features out.

Shapes: B observations, T history steps (n_obs_steps), S state numbers, F features.
Runs inside the exported graph, so it is plain tensor arithmetic. Knows nothing of scaling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.params import PolicyParams


class FeatureError(PipelineError):
    """The policy is asked to see something that the state does not hold."""


class ObservationFeatures(nn.Module):
    """Selects and derives the policy's features, the same ones for every history step.

    Fields pass as they are, in the order of `policy.inputs`, but for `ee_pose`: it becomes the
    TCP's position and its z axis. The rotation about that axis stands in the last joint already,
    the task does not ask for it, and a quaternion has two signs for one pose. With `object_in_tcp`
    the object's position and axis follow once more, seen from the TCP frame.
    """

    rotation_map: Tensor

    def __init__(self, params: PolicyParams, layout: Layout) -> None:
        """Choose the features.

        Args:
            params: section policy.
            layout: the meaning of the state.

        Raises:
            FeatureError: an input is not in the state, is named twice, or none is named.
        """
        super().__init__()
        needed = list(params.inputs)
        if not needed or len(set(needed)) != len(needed):
            raise FeatureError(
                f"policy.inputs is {needed}: expected one field or more, each named once"
            )
        if params.object_in_tcp:
            needed += ["ee_pose", "object_pos", "object_axis"]
        missing = sorted({kind for kind in needed if not layout.has(kind)})
        if missing:
            raise FeatureError(
                f"the policy needs {', '.join(missing)}, but the state is {layout.describe()}; "
                "change policy.inputs, policy.object_in_tcp or task.state_fields"
            )
        self.slices = {field.kind: field.slice for field in layout.state}
        self.kinds: tuple[str, ...] = tuple(params.inputs)
        self.object_in_tcp = params.object_in_tcp
        self.names = self._names(layout)
        self.register_buffer("rotation_map", _rotation_map(), persistent=False)

    @property
    def num_features(self) -> int:
        """Features of one history step, F."""
        return len(self.names)

    def forward(self, obs: Tensor) -> Tensor:
        """Features of raw observations.

        Args:
            obs: shape (B, T, S), units of the layout.

        Returns:
            Shape (B, T, F): m, rad, rad/s and unit vectors, not scaled.
        """
        needs_rotation = self.object_in_tcp or "ee_pose" in self.kinds
        tcp = obs[..., self.slices["ee_pose"]] if needs_rotation else obs
        rotation = self._rotation(tcp[..., 3:]) if needs_rotation else obs
        parts = []
        for kind in self.kinds:
            if kind == "ee_pose":
                parts += [tcp[..., :3], rotation[..., 2]]
            else:
                parts.append(obs[..., self.slices[kind]])
        if self.object_in_tcp:
            offset = obs[..., self.slices["object_pos"]] - tcp[..., :3]
            both = torch.stack((offset, obs[..., self.slices["object_axis"]]), dim=-2)
            # A row vector times R is the transposed rotation: base frame to TCP frame.
            parts.append(torch.matmul(both, rotation).flatten(-2))
        return torch.cat(parts, dim=-1)

    def _rotation(self, quaternion: Tensor) -> Tensor:
        """Rotation matrices (..., 3, 3) of quaternions (..., 4), xyzw, of any length but zero."""
        outer = quaternion.unsqueeze(-1) * quaternion.unsqueeze(-2)
        nine = torch.matmul(outer.flatten(-2), self.rotation_map)
        squared_length = (quaternion * quaternion).sum(dim=-1, keepdim=True)
        return (nine / squared_length).reshape(*quaternion.shape[:-1], 3, 3)

    def _names(self, layout: Layout) -> tuple[str, ...]:
        names: list[str] = []
        for kind in self.kinds:
            field = layout.field(kind)
            if kind == "ee_pose":
                names += [f"tcp_{axis}" for axis in "xyz"] + [
                    f"tcp_z_axis_{axis}" for axis in "xyz"
                ]
            else:
                names += [f"{field.name}[{index}]" for index in range(field.size)]
        if self.object_in_tcp:
            for kind in ("object_pos", "object_axis"):
                names += [f"{layout.field(kind).name}_in_tcp_{axis}" for axis in "xyz"]
        return tuple(names)


def _rotation_map() -> Tensor:
    """The matrix (16, 9) that takes q qᵀ, flat, to R, flat, for q = xyzw.

    A rotation matrix is linear in the products of its quaternion's parts (Euler–Rodrigues, for
    instance Diebel 2006, "Representing Attitude", eq. 125), so one product replaces thirty small
    operations, in training and in the exported graph.
    """
    x, y, z, w = range(4)
    terms = (
        ((1, x, x), (-1, y, y), (-1, z, z), (1, w, w)),
        ((2, x, y), (-2, z, w)),
        ((2, x, z), (2, y, w)),
        ((2, x, y), (2, z, w)),
        ((-1, x, x), (1, y, y), (-1, z, z), (1, w, w)),
        ((2, y, z), (-2, x, w)),
        ((2, x, z), (-2, y, w)),
        ((2, y, z), (2, x, w)),
        ((-1, x, x), (-1, y, y), (1, z, z), (1, w, w)),
    )
    matrix = torch.zeros(16, 9)
    for column, entries in enumerate(terms):
        for factor, first, second in entries:
            matrix[4 * first + second, column] = float(factor)
    return matrix
