"""Compute what the network sees of obstacles. It runs inside the exported graph.

Shapes: N observations, J joints, K obstacle slots, P points on the arm, G points of a grid.
The batch is the last axis of inner arrays, so that every operation is long and vectorised.
"""

from __future__ import annotations

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
TINY_M = 1e-6


class ObstacleFeatures(nn.Module):
    """Clearances of points on the arm and of a fixed grid, the same for any order of obstacles.

    For each point on the arm: its clearance, and the directions away from obstacles, weighted by
    their closeness. For each point of a grid over the region of the obstacles: its clearance (a
    basis point set, Prokudin et al. 2019). Everything lies between -1 and 1, is continuous, and
    does not depend on unused slots.
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
        constants, order = joint_terms(chain, joints)
        self.behind = [
            [i for i, (joints, _) in enumerate(seen.points) if joints == count]
            for count in range(1, len(chain.joints) + 1)
        ]
        self.num_points = sum(map(len, self.behind))
        local = [torch.tensor([seen.points[i][1] for i in some]) for some in self.behind]
        axes = [np.linspace(*ends) for ends in zip(seen.low, seen.high, GRID, strict=True)]
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
        self.register_buffer("terms", constants, persistent=False)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("grid", torch.from_numpy(grid).float(), persistent=False)
        for count, points in enumerate(local):
            self.register_buffer(f"points_{count}", points.reshape(-1, 3), persistent=False)

    terms: Tensor
    order: Tensor
    grid: Tensor

    @property
    def num_features(self) -> int:
        """Numbers of the result, F."""
        return 4 * self.num_points + int(np.prod(GRID))

    def forward(self, joint_pos: Tensor, obstacles: Tensor) -> Tensor:
        """Compute the features.

        Args:
            joint_pos: rad (m for a sliding joint), shape (N, J).
            obstacles: shape (N, K · 12), base frame.

        Returns:
            Shape (N, F), from -1 to 1.
        """
        rows = obstacles.reshape(-1, self.slots, COLUMNS).permute(2, 1, 0)
        turn = _rotation(rows[3:7])
        points = self.points(joint_pos.t())
        distance, away = _clearance(points, rows, turn)
        near = (1 - distance / SIGHT_M).clamp(0, 1).square()
        push = (near * away).sum(dim=2)
        body = (distance.amin(dim=1) / SIGHT_M).clamp(-1, 1)
        # Several obstacles may push the same way.
        push = push / (1 + push.square().sum(dim=0)).sqrt()
        grid = self.grid.unsqueeze(-1).expand(-1, -1, rows.shape[-1])
        scene = (_clearance(grid, rows, turn)[0].amin(dim=1) / GRID_SIGHT_M).clamp(-1, 1)
        return torch.cat((body, push.flatten(0, 1), scene)).t()

    def points(self, joint_pos: Tensor) -> Tensor:
        """Place the points on the arm.

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
                points = getattr(self, f"points_{index}")
                found.append(torch.einsum("abn,pb->apn", turn, points) + place.unsqueeze(1))
        return torch.cat(found, dim=1)


def _clearance(points: Tensor, rows: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distances (P, K, N) of points (3, P, N), and unit directions away (3, P, K, N)."""
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


def _rotation(quaternion: Tensor) -> Tensor:
    """Rotation matrices (3, 3, K, N) of unit quaternions xyzw (4, K, N)."""
    x, y, z, w = quaternion.unbind()
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row) for row in rows])
