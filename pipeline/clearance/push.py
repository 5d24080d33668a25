"""Turns shortfalls of clearance into changes of a motion's rows.

N motions, R rows, J joints, S samples, M combinations of a sample and a pair.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.model import Clearances
from pipeline.clearance.sweep import Near

Array = NDArray[np.float64]
DAMPING_M2 = 0.02
"""Damping; it keeps steps short where the joints barely change a distance, m²/rad²."""


def push_rows(
    near: Near, short: Array, found: Clearances, shape: tuple[int, int], most_rad: float
) -> Array:
    """Compute the change of each row that would remove the shortfalls.

    Each sample moves its two neighbouring rows along the gradients of its distances, by damped
    steps (Wampler 1986).

    Args:
        near: samples and pairs.
        short: missing distances, 0 or less where nothing is missing, m. Shape (M,).
        found: the distances and their gradients.
        shape: N and R.
        most_rad: largest change of a joint.

    Returns:
        Changes, rad. Shape (N, R, J).
    """
    lacking = short > 0
    near, gradient = near.only(lacking), found.gradient(lacking)
    size = (gradient * gradient).sum(axis=1) + DAMPING_M2
    step = gradient * (short[lacking] / size)[:, None]
    whole = np.zeros((len(near.motion), step.shape[1]))
    np.add.at(whole, near.sample, step)
    whole *= np.minimum(1.0, most_rad / np.maximum(np.abs(whole).max(axis=1), 1e-12))[:, None]
    moves = np.abs(whole).max(axis=1) > 0
    push = np.zeros((*shape, step.shape[1]))
    weights = np.zeros(shape)
    for offset, weight in ((0, 1 - near.share), (1, near.share)):
        at = (near.motion[moves], near.step[moves] + offset)
        np.add.at(push, at, weight[moves, None] * whole[moves])
        np.add.at(weights, at, weight[moves])
    push /= np.maximum(weights, 1e-12)[..., None]
    return push


def spread(push: Array, kernel: Array) -> Array:
    """Smooth changes along the motions, keeping the size of each motion's largest one.

    Args:
        push: changes, rad. Shape (N, R, J).
        kernel: weight of each row's change in every row. Shape (R, R).

    Returns:
        Shape (N, R, J).
    """
    wide = np.einsum("rk,nkj->nrj", kernel, push)
    before, after = (np.abs(values).max(axis=(1, 2)) for values in (push, wide))
    wide *= (before / np.maximum(after, 1e-12))[:, None, None]
    return np.asarray(wide)
