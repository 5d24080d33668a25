"""Finds the direction that separates two bodies best, for many pairs at once.

A body is a box grown by a disc and a ball (`Shape`) and is centrally symmetric. Let c be the vector
between the centres of two bodies and h the sum of their support functions. For every unit vector n,
the distance is at least n·c − h(n), so no search result overestimates it; for the best n the bound
equals the distance (Boyd & Vandenberghe, Convex Optimization, section 8.2). The search projects
onto the two bodies alternately, with momentum (Beck & Teboulle 2009). The caller subtracts the
balls' radii.

Uses NumPy only. There are M pairs of bodies; M is the last axis of every array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ITERATIONS = 12
"""Iterations of a search without a starting point."""
WARM_ITERATIONS = 4
"""Iterations of a search that starts at the previous result, after a small motion of the arm."""
LOOSE_M = 2e-4
"""Other directions are tried if the bound may be lower than the distance by more than this, m."""


@dataclass(frozen=True)
class Body:
    """M bodies centred at the origin, without their balls."""

    half: Array
    """Half the edges of the boxes, m. (3, M)."""
    disc: Array
    """Radii of the discs, m. (M,)."""

    def project(self, point: Array) -> Array:
        """Points of the bodies nearest to given points. (3, M)."""
        nearest: Array = np.minimum(np.maximum(point, -self.half), self.half)
        x, y = point[0] - nearest[0], point[1] - nearest[1]
        length = np.sqrt(x * x + y * y)
        share = np.minimum(1.0, self.disc / np.maximum(length, 1e-12))
        nearest[0] += share * x
        nearest[1] += share * y
        return nearest

    def support(self, direction: Array) -> Array:
        """Support function: extent along unit directions (3, …, M), m. (…, M)."""
        extent: Array = np.einsum("k...m,km->...m", np.abs(direction), self.half)
        extent += self.disc * np.hypot(direction[0], direction[1])
        return extent


@dataclass(frozen=True)
class Separation:
    """Result of a search, in the first body's frame."""

    direction: Array
    """Unit vectors from the second body to the first. (3, M)."""
    bound: Array
    """Lower bounds of the distance, m. (M,)."""
    on_first: Array
    """Vector from the nearest point of the first body to its centre, m. (3, M)."""
    on_second: Array
    """Nearest point of the second body in its own frame, m. (3, M)."""


def separate(
    apart: Array, turn: Array, first: Body, second: Body, search: Array | None
) -> Separation:
    """Find the directions that separate the bodies of each pair best.

    Args:
        apart: vector from the second centre to the first in the first body's frame, m. (3, M).
        turn: orientation of the second body in the first body's frame. (3, 3, M).
        first: the first bodies.
        second: the second bodies.
        search: starting points on the second bodies in their own frame, m; None for none. (3, M).
    """
    steps = ITERATIONS if search is None else WARM_ITERATIONS
    point = second.project(turned_back(turn, apart)) if search is None else search
    ahead, momentum = point, 1.0
    for _ in range(steps):
        rest = apart - turned(turn, ahead)
        rest -= first.project(rest)
        moved = second.project(ahead + turned_back(turn, rest))
        faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        change = moved - point
        # Momentum that points backwards is dropped (O'Donoghue & Candès 2015).
        onward = ((ahead - moved) * change).sum(axis=0) <= 0
        ahead = moved + np.where(onward, (momentum - 1) / faster, 0.0) * change
        point, momentum = moved, faster
    rest = apart - turned(turn, point)
    on_first = first.project(rest)
    rest -= on_first
    length = np.sqrt((rest * rest).sum(axis=0))
    direction = rest / np.maximum(length, 1e-12)
    bound = (direction * apart).sum(axis=0) - first.support(direction)
    bound -= second.support(turned_back(turn, direction))
    bound[length < 1e-9] = -np.inf
    loose = np.flatnonzero(length - bound > LOOSE_M)
    if len(loose):
        part = (apart[:, loose], turn[..., loose])
        bodies = (Body(body.half[:, loose], body.disc[loose]) for body in (first, second))
        better, along = _best_axis(*part, *bodies)
        wins = better > bound[loose]
        bound[loose[wins]] = better[wins]
        direction[:, loose[wins]] = along[:, wins]
    return Separation(direction, bound, on_first, point)


def _best_axis(apart: Array, turn: Array, first: Body, second: Body) -> tuple[Array, Array]:
    """Find the best direction among a few fixed candidates.

    The candidates are both bodies' axes, the directions across each one's z axis, and the line
    between the centres. They help where faces are parallel, since the search converges slowly
    there, and where bodies overlap.

    Returns:
        Bounds, m, shape (M,), and unit directions in the first body's frame, shape (3, M).
    """
    ways = np.zeros((3, 9, apart.shape[1]))
    ways[:, :3] = np.eye(3)[..., None]
    ways[:, 3:6] = turn
    ways[:2, 6] = apart[:2]
    seen = turned_back(turn, apart)
    ways[:, 7] = turned(turn[:, :2], seen[:2])
    ways[:, 8] = apart
    length = np.sqrt((ways * ways).sum(axis=0))
    reach = np.einsum("kwm,km->wm", ways, apart)
    units = ways * (np.where(reach < 0, -1.0, 1.0) / np.maximum(length, 1e-12))
    gap = np.abs(reach) / np.maximum(length, 1e-12) - first.support(units)
    gap -= second.support(turned_back(turn[:, :, None], units))
    gap[length <= 1e-9] = -np.inf
    best, every = gap.argmax(axis=0), np.arange(apart.shape[1])
    return gap[best, every], units[:, best, every]


def turned(turn: Array, vector: Array) -> Array:
    """Rotate vectors (3, …) by matrices (3, 3, …)."""
    return np.asarray(np.einsum("jk...,k...->j...", turn, vector))


def turned_back(turn: Array, vector: Array) -> Array:
    """Rotate vectors (3, …) by the transposes of matrices (3, 3, …)."""
    return np.asarray(np.einsum("kj...,k...->j...", turn, vector))


def z_along(axis: Array) -> Array:
    """Compute rotations that map z to given axes; x and y are arbitrary perpendicular directions.

    Source: Duff et al. 2017, "Building an Orthonormal Basis, Revisited", listing 3.

    Args:
        axis: unit axes. Shape (3, S).

    Returns:
        Shape (3, 3, S).
    """
    x, y, z = axis
    sign = np.copysign(1.0, z)
    scale = -1.0 / (sign + z)
    mixed = x * y * scale
    turn = np.empty((3, *axis.shape))
    turn[:, 2] = axis
    turn[0, 0], turn[1, 0], turn[2, 0] = 1.0 + sign * x * x * scale, sign * mixed, -sign * x
    turn[0, 1], turn[1, 1], turn[2, 1] = mixed, sign + y * y * scale, -y
    return turn
