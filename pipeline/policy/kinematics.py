"""Forward kinematics as tensor arithmetic, for training and inside the exported graph.

Shapes: J joints; leading axes are free. The chain comes with the checkpoint; no robot library here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.kinematics import ChainJoint, KinematicChain, KinematicsError


class ForwardKinematics(nn.Module):
    """TCP of joint positions, joints that are idle held at zero.

    An idle joint (a wrist's last one) moves neither the TCP nor its z axis; with it at zero the
    frame's x and y are those of the link before it, so that the same miss looks the same whatever
    the yaw. Each joint's transform is linear in 1, sin q, 1 − cos q and q (Rodrigues 1840), so all
    joints' transforms are one product with constants, and the chain is J small matrix products.
    """

    terms: Tensor
    moving: Tensor
    tip: Tensor

    def __init__(self, chain: KinematicChain, joints: tuple[str, ...]) -> None:
        """Precompute the constants.

        Args:
            chain: base to TCP.
            joints: names in the order of the joint positions, the chain's among them.

        Raises:
            KinematicsError: a joint of the chain is not among them.
        """
        super().__init__()
        missing = [joint.name for joint in chain.joints if joint.name not in joints]
        if missing:
            raise KinematicsError(
                f"the chain to the TCP needs joints {', '.join(missing)}, but the state has "
                f"{', '.join(joints)}; name them in robot.joints"
            )
        self.order = [joints.index(joint.name) for joint in chain.joints]
        terms = np.stack([_joint_terms(joint) for joint in chain.joints])
        moving = [0.0 if joint.idle else 1.0 for joint in chain.joints]
        tip = _homogeneous(np.array(chain.tip_rotation), np.array(chain.tip_translation))
        self.register_buffer("terms", torch.from_numpy(terms).float(), persistent=False)
        self.register_buffer("moving", torch.tensor(moving), persistent=False)
        self.register_buffer("tip", torch.from_numpy(tip).float(), persistent=False)

    def forward(self, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        """TCP in the base frame.

        Args:
            joint_pos: rad (m for a sliding joint), shape (..., J).

        Returns:
            Position, m, shape (..., 3), and rotation matrix, shape (..., 3, 3).
        """
        q = joint_pos[..., self.order] * self.moving
        factors = torch.stack((torch.ones_like(q), q.sin(), 1 - q.cos(), q), dim=-1)
        # (..., J, 1, 4) @ (J, 4, 16): each joint's transform from its own constants.
        local = torch.matmul(factors.unsqueeze(-2), self.terms).reshape(*q.shape, 4, 4)
        pose = local[..., 0, :, :]
        for joint in range(1, q.shape[-1]):
            pose = torch.matmul(pose, local[..., joint, :, :])
        pose = torch.matmul(pose, self.tip)
        return pose[..., :3, 3], pose[..., :3, :3]


def _joint_terms(joint: ChainJoint) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Constants of a joint's transform for 1, sin q, 1 − cos q and q, each 4 × 4, flat: (4, 16)."""
    rotation, translation = np.array(joint.rotation), np.array(joint.translation)
    x, y, z = joint.axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    terms = np.zeros((4, 4, 4))
    terms[0] = _homogeneous(rotation, translation)
    if joint.motion == "prismatic":
        terms[3, :3, 3] = rotation @ np.array(joint.axis)
    else:
        terms[1, :3, :3] = rotation @ cross
        terms[2, :3, :3] = rotation @ cross @ cross
    return terms.reshape(4, 16)


def _homogeneous(
    rotation: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    translation: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix
