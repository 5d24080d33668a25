"""Tell which perturbed states of the arm touch something, fast and roughly.

Each link is covered by balls around points on it, so the check errs on the side of contact.
Shapes: N states, J joints, P points, K bodies.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from pipeline.collision_geometry import CollisionGeometry, Shape
from pipeline.kinematics import Geometry, Vector
from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS
from pipeline.policy.obstacle_features import ArmPoints, nearest, rotation
from pipeline.robot.covering import body_points


class ContactCheck(nn.Module):
    """Computes the smallest clearance between the arm and everything around it.

    The bodies are the table and the boxes of the scene, the object, and the obstacles that an
    observation carries. Links are not checked against each other.
    """

    radius: Tensor
    fixed: Tensor
    body: Tensor
    skips: Tensor

    def __init__(self, layout: Layout, geometry: Geometry, shapes: CollisionGeometry) -> None:
        """Prepare the constants.

        Args:
            layout: where joints and object are in an observation.
            geometry: chain from base to TCP.
            shapes: of arm, scene and object.
        """
        super().__init__()
        points: list[tuple[int, Vector]] = []
        radii: list[float] = []
        around, owners = _scene(shapes), []
        for index in sorted(range(len(shapes.shapes)), key=lambda i: shapes.shapes[i].joints):
            places = body_points([shapes.shapes[index]])
            points += places
            radii += [_radius(shapes.shapes[index])] * len(places)
            owners += [index] * len(places)
        self.points = ArmPoints(geometry.chain, layout.joints, points)
        rows = [_row(shapes.shapes[index]) for index in around]
        pairs = {frozenset(pair) for pair in shapes.pairs}
        skipped = [[frozenset((i, j)) not in pairs for j in around] for i in owners]
        held = shapes.shapes[shapes.object] if shapes.object is not None else None
        self.sees_object = held is not None and layout.has("object_pos")
        self.slices = {field.kind: field.slice for field in layout.state}
        self.width = layout.state_dim
        self.register_buffer("radius", torch.tensor(radii).float()[:, None, None])
        self.register_buffer("fixed", torch.tensor(np.array(rows)).reshape(-1, COLUMNS).float())
        skips = torch.tensor(skipped).reshape(len(owners), len(around), 1)
        self.register_buffer("skips", torch.where(skips, torch.inf, 0.0))
        body = np.zeros(COLUMNS) if held is None else _row(held)
        self.register_buffer("body", torch.from_numpy(body).float())

    def forward(self, joint_pos: Tensor, obs: Tensor) -> Tensor:
        """Compute clearances.

        Args:
            joint_pos: rad (m for a sliding joint), shape (N, J).
            obs: newest observations, with obstacles if the policy sees any, shape (N, S).

        Returns:
            m, shape (N,); a little too small, negative in contact.
        """
        number = len(obs)
        rows = [self.fixed.unsqueeze(0).expand(number, -1, -1)]
        if obs.shape[1] > self.width:
            rows.append(obs[:, self.width :].reshape(number, -1, COLUMNS))
        if self.sees_object:
            rows.append(self._object(obs).unsqueeze(1))
        bodies = torch.cat(rows, dim=1).permute(2, 1, 0).contiguous()
        offsets = torch.zeros((len(self.radius), bodies.shape[1], 1), device=obs.device)
        offsets[:, : self.skips.shape[1]] = self.skips
        points = self.points(joint_pos.t())
        distance = nearest(points, bodies, rotation(bodies[3:7]), offsets - self.radius)
        return distance.amin(dim=0)

    def _object(self, obs: Tensor) -> Tensor:
        """The object as an obstacle. (N, 12)."""
        axis = obs[:, self.slices["object_axis"]]
        # The shortest rotation of z onto the axis; half a turn about x where they are opposite.
        x, y, z = axis.unbind(dim=1)
        quaternion = torch.stack((-y, x, torch.zeros_like(x), 1 + z), dim=1)
        quaternion[:, 0] += (z < -1 + 1e-6).to(quaternion.dtype)
        quaternion = quaternion / quaternion.norm(dim=1, keepdim=True)
        size = self.body[7:].expand(len(obs), -1)
        return torch.cat((obs[:, self.slices["object_pos"]], quaternion, size), dim=1)


def _scene(shapes: CollisionGeometry) -> list[int]:
    """Shapes that moving links must not touch, without links that move and the object."""
    moving = [shape.joints > 0 for shape in shapes.shapes]
    checked = {i for pair in shapes.pairs if any(moving[j] for j in pair) for i in pair}
    return [i for i in sorted(checked) if not moving[i] and i != shapes.object]


def _row(shape: Shape) -> NDArray[np.float64]:
    """A fixed shape as an obstacle. (12,)."""
    quaternion = Rotation.from_matrix(np.array(shape.rotation)).as_quat()
    size = [*shape.half_m, shape.disc_m, shape.ball_m]
    return np.array([*shape.centre, *quaternion, *size])


def _radius(shape: Shape) -> float:
    """Radius of balls around the points of a shape, across its longest axis, m."""
    half = np.array(shape.half_m)
    across = np.delete(half, int(half.argmax()))
    return float(np.hypot(*across)) + shape.disc_m + shape.ball_m
