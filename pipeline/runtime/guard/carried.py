"""Builds the guard from an exported policy, and draws the noise for its alternative chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.collision_geometry import CollisionGeometry
from pipeline.kinematics import Geometry, JointLimits
from pipeline.runtime.deployment import Execution
from pipeline.runtime.guard.guard import Guard

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

OTHERS = 0x071E25
"""Separates the seed of the alternative chunks' noise from the policy's own seed."""


def carried_guard(
    settings: Execution | ExecutionParams,
    config: Mapping[str, Any],
    joints: Sequence[str],
    limits: JointLimits,
) -> Guard | None:
    """Build the guard from the kinematic chain and the collision shapes stored with a policy.

    Args:
        settings: the section `execution`.
        config: metadata of the checkpoint or the graph.
        joints: joint names in the order of the joint positions.
        limits: the joint limits.

    Returns:
        The guard, or None if it is switched off or the policy has no collision shapes.

    Raises:
        KinematicsError: the chain is malformed.
        CollisionGeometryError: the shapes are malformed or do not match the chain or the joints.
    """
    if settings.guard == "off" or config.get("collision") is None:
        return None
    chain = Geometry.from_dict(config["geometry"]).chain
    shapes = CollisionGeometry.from_dict(config["collision"])
    return Guard(settings, chain, joints, shapes, limits)


def other_noise(
    settings: Execution | ExecutionParams, shape: tuple[int, ...], seed: int, step: int
) -> NDArray[np.float32]:
    """Draw the noise for the alternative chunks of the guard.

    Args:
        settings: the section `execution`.
        shape: number of chunks, steps of a chunk and action numbers, (C, H, A).
        seed: seed of the robot's noise.
        step: number of control steps since the reset.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, OTHERS, step]))
    noise = rng.standard_normal(shape, dtype=np.float32)
    return np.float32(settings.guard_noise_scale) * noise
