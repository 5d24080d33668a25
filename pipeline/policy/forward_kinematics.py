"""Compute forward kinematics with tensors, for training and inside the exported graph.

Shapes: J joints, N poses; leading axes are free. The chain comes with the checkpoint, so no
robot library is needed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.kinematics import ChainJoint, KinematicChain, KinematicsError

Matrix = NDArray[np.float64]


class ForwardKinematics(nn.Module):
    """Computes the TCP from joint positions, with idle joints held at zero.

    An idle joint (a wrist's last one) moves neither the TCP nor its z axis; with it at zero the
    frame's x and y are those of the link before it, so that the same miss looks the same whatever
    the yaw.

    Each joint's transform is linear in 1, sin q, cos q and q (Rodrigues 1840), so all joints'
    transforms are one product with constants; neighbours are then multiplied in pairs, all pairs at
    once, the batch as the last axis. Training computes this in every step: a dozen vectorised
    operations take a third of the time of J batched products of 4 × 4 matrices.
    """

    constant: Tensor
    linear: Tensor
    order: Tensor

    def __init__(self, chain: KinematicChain, joints: tuple[str, ...]) -> None:
        """Precompute the constants.

        Args:
            chain: base to TCP.
            joints: names in the order of the joint positions, the chain's among them.

        Raises:
            KinematicsError: a joint of the chain is not among them, or none moves the TCP.
        """
        super().__init__()
        missing = [joint.name for joint in chain.joints if joint.name not in joints]
        if missing:
            raise KinematicsError(
                f"the chain to the TCP needs joints {', '.join(missing)}, but the state has "
                f"{', '.join(joints)}; name them in robot.joints"
            )
        moving = [joint for joint in chain.joints if not joint.idle]
        order = torch.tensor([joints.index(joint.name) for joint in moving], dtype=torch.int64)
        terms = torch.from_numpy(np.stack(_terms(chain))).float().flatten(2)
        self.register_buffer("constant", terms[:, 0].unsqueeze(-1), persistent=False)
        self.register_buffer("linear", terms[:, 1:].mT.contiguous(), persistent=False)
        self.register_buffer("order", order, persistent=False)

    def forward(self, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        """TCP in the base frame.

        Args:
            joint_pos: rad (m for a sliding joint), shape (..., J).

        Returns:
            Position, m, shape (..., 3), and rotation matrix, shape (..., 3, 3).
        """
        batch = joint_pos.shape[:-1]
        position, rotation = self.batch_last(joint_pos.reshape(-1, joint_pos.shape[-1]).t())
        turned = rotation.permute(2, 0, 1).reshape(*batch, 3, 3)
        return position.t().reshape(*batch, 3), turned

    def batch_last(self, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the TCP with the batch as the last axis.

        Args:
            joint_pos: rad (m for a sliding joint), shape (J, N).

        Returns:
            Position, m, shape (3, N), and rotation matrix, shape (3, 3, N).
        """
        q = joint_pos.index_select(0, self.order)
        factors = torch.stack((q.sin(), q.cos(), q), dim=1)
        # (J, 16, 3) @ (J, 3, N): each joint's transform from its own constants.
        poses = (torch.bmm(self.linear, factors) + self.constant).reshape(len(self.order), 4, 4, -1)
        while len(poses) > 1:
            even = len(poses) // 2 * 2
            first, second = poses[0:even:2], poses[1:even:2]
            products = _products(first, second)
            poses = torch.cat((products, poses[even:])) if even < len(poses) else products
        return poses[0, :3, 3], poses[0, :3, :3]


def joint_terms(chain: KinematicChain, joints: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Collect the constants of every joint's transform, idle joints included.

    Args:
        chain: base to TCP.
        joints: names in the order of the joint positions, the chain's among them.

    Returns:
        Factors of 1, sin q, cos q and q in each 4 × 4 transform, shape (C, 4, 4, 4), and the column
        of each joint, shape (C,).
    """
    terms = [
        _homogeneous(np.array(joint.rotation), np.array(joint.translation)) @ _motion(joint)
        for joint in chain.joints
    ]
    order = torch.tensor([joints.index(joint.name) for joint in chain.joints], dtype=torch.int64)
    return torch.from_numpy(np.stack(terms)).float(), order


def _products(first: Tensor, second: Tensor) -> Tensor:
    """Products of pairs of matrices (P, 4, 4, N), the batch as the last axis."""
    if not torch.compiler.is_exporting():
        return (first.unsqueeze(3) * second.unsqueeze(1)).sum(dim=2)
    # TensorRT-RTX takes the sum above for a float32 matrix product of its own library, which costs
    # minutes and 240 MB; it fuses these four terms.
    terms = [first[:, :, k, None] * second[:, None, k] for k in range(first.shape[2])]
    return terms[0] + terms[1] + terms[2] + terms[3]


def _terms(chain: KinematicChain) -> list[Matrix]:
    """Constants of each moving joint's transform for 1, sin q, cos q and q: (4, 4, 4).

    Fixed transforms (idle joints at zero, the tip) are multiplied into their neighbour's constants.
    """
    found: list[Matrix] = []
    before = np.eye(4)
    for joint in chain.joints:
        before = before @ _homogeneous(np.array(joint.rotation), np.array(joint.translation))
        if not joint.idle:
            found.append(before @ _motion(joint))
            before = np.eye(4)
    tip = before @ _homogeneous(np.array(chain.tip_rotation), np.array(chain.tip_translation))
    if not found:
        raise KinematicsError("no joint of the chain moves the TCP; check robot.tip_link")
    found[-1] = found[-1] @ tip
    return found


def _motion(joint: ChainJoint) -> Matrix:
    """A joint's motion in its own frame, for 1, sin q, cos q and q: (4, 4, 4)."""
    x, y, z = joint.axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    terms = np.zeros((4, 4, 4))
    terms[0] = np.eye(4)
    if joint.motion == "prismatic":
        terms[3, :3, 3] = joint.axis
    else:
        # I + sin q · K + (1 − cos q) · K²
        terms[0, :3, :3] += cross @ cross
        terms[1, :3, :3] = cross
        terms[2, :3, :3] = -cross @ cross
    return terms


def _homogeneous(rotation: Matrix, translation: Matrix) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix
