"""The guard that a policy carries with it, and the noise of the chunks it may choose from."""

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
"""Sets the seed of other chunks' noise apart."""


def carried_guard(
    settings: Execution | ExecutionParams,
    config: Mapping[str, Any],
    joints: Sequence[str],
    limits: JointLimits,
) -> Guard | None:
    """The guard of a policy that carries chain and shapes; None where it is off or has none.

    Args:
        settings: the section `execution`.
        config: of the checkpoint or the graph.
        joints: names in the order of joint positions.
        limits: of the joints.

    Raises:
        KinematicsError: the chain is malformed.
        CollisionGeometryError: the shapes are malformed, or fit neither chain nor joints.
    """
    if settings.guard == "off" or config.get("collision") is None:
        return None
    chain = Geometry.from_dict(config["geometry"]).chain
    shapes = CollisionGeometry.from_dict(config["collision"])
    return Guard(settings, chain, joints, shapes, limits)


def other_noise(
    settings: Execution | ExecutionParams, shape: tuple[int, ...], seed: int, step: int
) -> NDArray[np.float32]:
    """Noise of the chunks that the guard may choose from; the same for every robot.

    Args:
        settings: the section `execution`.
        shape: (C, H, A).
        seed: of the policy's noise.
        step: control steps since the reset.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, OTHERS, step]))
    noise = rng.standard_normal(shape, dtype=np.float32)
    return np.float32(settings.guard_noise_scale) * noise
