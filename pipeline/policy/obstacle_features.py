"""Compute what the network sees of obstacles. It runs inside the exported graph.

Shapes: N observations, J joints, K obstacle slots, P points on the arm, G points of a grid.
The batch is the last axis of inner arrays, so that every operation is long and vectorised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.kinematics import KinematicChain
from pipeline.obstacles import COLUMNS, ObstacleInput
from pipeline.policy.forward_kinematics import joint_terms

SIGHT_M = 0.25
"""Distance from which a point on the arm sees an obstacle, m."""
GRID = (6, 8, 6)
"""Points of the grid along x, y and z."""
GRID_SIGHT_M = 0.2
"""Distance from which a point of the grid sees an obstacle, m."""
ARM_FADES_M = 0.02
"""Distance to the goal at which clearances of the arm count half, m."""
GRID_FADES_M = 0.1
"""Distance to the goal at which the grid counts half, m."""
TINY_M = 1e-6


class ObstacleFeatures(nn.Module):
    """Clearances of points on the arm and of a fixed grid, the same for any order of obstacles.

    For each point on the arm: its clearance, and the directions away from obstacles, weighted by
    their closeness. For each point of a grid over the region of the obstacles: its clearance (a
    basis point set, Prokudin et al. 2019). Everything lies between -1 and 1, is continuous, and
    does not depend on unused slots.

    Near the goal the features fade into those of an empty scene: the last centimetres lead
    straight to the grasp, and there the network is as exact as without obstacles.
    """

    def __init__(self, chain: KinematicChain, joints: tuple[str, ...], seen: ObstacleInput) -> None:
        """Prepare the constants.

        Args:
            chain: base to TCP.
            joints: names in the order of the joint positions, the chain's among them.
            seen: points, region and number of slots.
        """
        super().__init__()
        self.slots = seen.slots
        self.points = ArmPoints(chain, joints, seen.points)
        axes = [np.linspace(*ends) for ends in zip(seen.low, seen.high, GRID, strict=True)]
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
        self.register_buffer("grid", torch.from_numpy(grid).float(), persistent=False)

    grid: Tensor

    @property
    def num_features(self) -> int:
        """Numbers of the result, F."""
        return 4 * self.points.number + int(np.prod(GRID))

    def forward(self, joint_pos: Tensor, obstacles: Tensor, goal: Tensor | None = None) -> Tensor:
        """Compute the features.

        Args:
            joint_pos: rad (m for a sliding joint), shape (N, J).
            obstacles: shape (N, K · 12), base frame.
            goal: vector from the TCP to the grasp, m, shape (N, 3); None if it is unknown.

        Returns:
            Shape (N, F), from -1 to 1.
        """
        rows = obstacles.reshape(-1, self.slots, COLUMNS).permute(2, 1, 0).contiguous()
        turn = rotation(rows[3:7])
        points = self.points(joint_pos.t())
        distance, away = clearance(points, rows, turn)
        near = (1 - distance / SIGHT_M).clamp(0, 1).square()
        push = (near * away).sum(dim=2)
        body = (distance.amin(dim=1) / SIGHT_M).clamp(-1, 1)
        # Several obstacles may push the same way.
        push = push / (1 + push.square().sum(dim=0)).sqrt()
        scene = (nearest(self.grid.unsqueeze(-1), rows, turn) / GRID_SIGHT_M).clamp(-1, 1)
        if goal is not None:
            away = goal.square().sum(dim=1).sqrt()
            arm, grid = away / (away + ARM_FADES_M), away / (away + GRID_FADES_M)
            body, push, scene = 1 + arm * (body - 1), arm * push, 1 + grid * (scene - 1)
        return torch.cat((body, push.flatten(0, 1), scene)).t()


class ArmPoints(nn.Module):
    """Places points that are fixed to the links of an arm."""

    terms: Tensor
    order: Tensor

    def __init__(
        self,
        chain: KinematicChain,
        joints: tuple[str, ...],
        points: Sequence[tuple[int, tuple[float, float, float]]],
    ) -> None:
        """Prepare the constants.

        Args:
            chain: base to TCP.
            joints: names in the order of the joint positions, the chain's among them.
            points: number of joints before the frame that a point is fixed to, and its position
                there, m. They are placed in the order of these numbers.
        """
        super().__init__()
        terms, order = joint_terms(chain, joints)
        self.register_buffer("terms", terms, persistent=False)
        self.register_buffer("order", order, persistent=False)
        self.behind = [
            [place for count, place in points if count == joint + 1]
            for joint in range(len(chain.joints))
        ]
        self.number = sum(map(len, self.behind))
        for joint, some in enumerate(self.behind):
            self.register_buffer(f"behind_{joint}", torch.tensor(some).float(), persistent=False)

    def forward(self, joint_pos: Tensor) -> Tensor:
        """Place the points.

        Args:
            joint_pos: rad (m for a sliding joint), shape (J, N).

        Returns:
            Base frame, m. Shape (3, P, N).
        """
        q = joint_pos.index_select(0, self.order)
        factors = torch.stack((torch.ones_like(q), q.sin(), q.cos(), q), dim=1)
        local = torch.einsum("jtab,jtn->jabn", self.terms, factors)
        turn, place = local[0, :3, :3], local[0, :3, 3]
        found = []
        for index, some in enumerate(self.behind):
            if index:
                step = local[index]
                place = place + (turn * step[:3, 3]).sum(dim=1)
                turn = (turn.unsqueeze(2) * step[:3, :3]).sum(dim=1)
            if some:
                points = getattr(self, f"behind_{index}")
                found.append(torch.einsum("abn,pb->apn", turn, points) + place.unsqueeze(1))
        return torch.cat(found, dim=1)


def clearance(points: Tensor, rows: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Compute signed distances of points from obstacles, and directions away from them.

    Args:
        points: base frame, m. Shape (3, P, N).
        rows: obstacles, the twelve numbers first. Shape (12, K, N).
        turn: their orientations. Shape (3, 3, K, N).

    Returns:
        Distances, m, shape (P, K, N), and unit vectors, 0 inside, shape (3, P, K, N).
    """
    apart = points.unsqueeze(2) - rows[:3].unsqueeze(1)
    local = (turn.unsqueeze(2) * apart.unsqueeze(1)).sum(dim=0)
    beyond = local.abs() - rows[7:10].unsqueeze(1)
    outer = beyond.clamp(min=0)
    across = (outer[0].square() + outer[1].square()).sqrt()
    flat = torch.where(across > 0, across, torch.maximum(beyond[0], beyond[1])) - rows[10]
    side = flat.clamp(min=0)
    outside = (side.square() + outer[2].square()).sqrt()
    deepest = torch.maximum(flat, beyond[2]).clamp(max=0)
    share = side / across.clamp(min=TINY_M)
    way = torch.stack((outer[0] * share, outer[1] * share, outer[2])) * local.sign()
    way = way / outside.clamp(min=TINY_M)
    away = (turn.unsqueeze(2) * way.unsqueeze(0)).sum(dim=1)
    return outside + deepest - rows[11], away


def nearest(points: Tensor, rows: Tensor, turn: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Compute the signed distance of each point from the nearest obstacle.

    Training calls this for hundreds of points and thousands of observations. One obstacle after
    the other keeps the arrays in the processor's cache: a sixteenth of the time of `clearance`.

    Args:
        points: base frame, m. Shape (3, P, N) or (3, P, 1).
        rows: obstacles, the twelve numbers first. Shape (12, K, N).
        turn: their orientations. Shape (3, 3, K, N).
        offsets: lengths to add to the distances, m, shape (P, K, 1); None for none.

    Returns:
        m. Shape (P, N).
    """
    if torch.compiler.is_exporting():
        distance, _ = clearance(points.expand(-1, -1, rows.shape[-1]), rows, turn)
        return distance.amin(dim=1)
    least: Tensor | None = None
    for k in range(rows.shape[1]):
        row, axes = rows[:, k], turn[:, :, k]
        apart = [points[i] - row[i] for i in range(3)]
        beyond = []
        for j in range(3):
            local = (apart[0] * axes[0, j]).addcmul_(apart[1], axes[1, j])
            beyond.append(local.addcmul_(apart[2], axes[2, j]).abs_().sub_(row[7 + j]))
        x, y, z = (value.clamp(min=0) for value in beyond)
        across = x.square_().addcmul_(y, y).sqrt_()
        flat = torch.where(across > 0, across, torch.maximum(beyond[0], beyond[1])) - row[10]
        outside = flat.clamp(min=0).square_().addcmul_(z, z).sqrt_()
        distance = outside + torch.maximum(flat, beyond[2]).clamp_(max=0) - row[11]
        if offsets is not None:
            distance = distance + offsets[:, k]
        least = distance if least is None else torch.minimum(least, distance)
    if least is None:
        return torch.full((points.shape[1], rows.shape[-1]), torch.inf, device=points.device)
    return least


def rotation(quaternion: Tensor) -> Tensor:
    """Rotation matrices (3, 3, K, N) of unit quaternions xyzw (4, K, N)."""
    x, y, z, w = quaternion.unbind()
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row) for row in rows])
