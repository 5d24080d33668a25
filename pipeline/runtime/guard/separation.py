"""Which direction parts two bodies best, for many pairs of them at once.

A body K is a box grown by a disc and a ball (`Shape`), centrally symmetric. For any unit vector n
the distance of two, a vector c apart, is at least n·c − h(n), h the sum of their support functions.
So whichever n a search ends with, the distance is never overestimated; for the best n it is the
distance itself (Boyd & Vandenberghe, Convex Optimization, section 8.2). The search projects onto
the two bodies in turn, with momentum (Beck & Teboulle 2009). Balls are the caller's to subtract.

M pairs of bodies, M the last axis of every array. NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ITERATIONS = 12
"""Projections of a search that begins anew."""
WARM_ITERATIONS = 4
"""Projections of one that begins where the last one ended, the arm having moved a little."""
LOOSE_M = 2e-4
"""A bound that may lie further than this below the distance is compared with other directions."""


@dataclass(frozen=True)
class Body:
    """M bodies about the origin, without their balls."""

    half: Array
    """(3, M)."""
    disc: Array
    """(M,)."""

    def project(self, point: Array) -> Array:
        """Nearest points of the bodies. (3, M)."""
        nearest = np.clip(point, -self.half, self.half)
        x, y = point[0] - nearest[0], point[1] - nearest[1]
        length = np.sqrt(x * x + y * y)
        share = np.minimum(1.0, self.disc / np.maximum(length, 1e-12))
        nearest[0] += share * x
        nearest[1] += share * y
        return nearest

    def support(self, direction: Array) -> Array:
        """Furthest extent along unit directions (3, M). (M,)."""
        extent: Array = (self.half * np.abs(direction)).sum(axis=0)
        extent += self.disc * np.hypot(direction[0], direction[1])
        return extent


@dataclass(frozen=True)
class Separation:
    """What a search found, in the first body's frame."""

    direction: Array
    """Unit vectors from the second body to the first. (3, M)."""
    bound: Array
    """Lower bounds of the distance, m. (M,)."""
    on_first: Array
    """Nearest point as seen from the first body's centre, reversed. (3, M)."""
    on_second: Array
    """Nearest point of the second body in its own frame. (3, M)."""


def separate(
    apart: Array, turn: Array, first: Body, second: Body, search: Array | None
) -> Separation:
    """Directions that part two bodies best: first + second against the vector between them.

    Args:
        apart: from the second centre to the first, first body's frame, m. (3, M).
        turn: orientation of the second in the first's frame. (3, 3, M).
        first: body.
        second: body.
        search: points of the second body to begin with, its own frame. (3, M).
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
        # Momentum that leads back is dropped (O'Donoghue & Candès 2015).
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
    """The best of both bodies' axes, the way across each one's z, and the way between the centres.

    They part bodies with parallel faces, where the search is slow, and bodies that overlap.

    Returns:
        Bounds, m, (M,), and unit directions in the first body's frame, (3, M).
    """
    number = apart.shape[1]
    seen = turned_back(turn, apart)
    ways = [np.broadcast_to(row[:, None], (3, number)) for row in np.eye(3)]
    ways += [turn[:, k] for k in range(3)]
    ways += [np.stack([apart[0], apart[1], np.zeros(number)])]
    ways += [turned(turn, np.stack([seen[0], seen[1], np.zeros(number)])), apart]
    best, along = np.full(number, -np.inf), np.zeros((3, number))
    for way in ways:
        length = np.sqrt((way * way).sum(axis=0))
        reach = (way * apart).sum(axis=0)
        unit = way * (np.where(reach < 0, -1.0, 1.0) / np.maximum(length, 1e-12))
        gap = np.abs(reach) / np.maximum(length, 1e-12) - first.support(unit)
        gap -= second.support(turned_back(turn, unit))
        wins = (gap > best) & (length > 1e-9)
        best = np.where(wins, gap, best)
        along = np.where(wins, unit, along)
    return best, along


def turned(turn: Array, vector: Array) -> Array:
    """Vectors (3, M) turned by (3, 3, M)."""
    turned: Array = turn[:, 0] * vector[0]
    turned += turn[:, 1] * vector[1]
    turned += turn[:, 2] * vector[2]
    return turned


def turned_back(turn: Array, vector: Array) -> Array:
    """Vectors (3, M) turned by the transposes of (3, 3, M)."""
    turned: Array = turn[0] * vector[0]
    turned += turn[1] * vector[1]
    turned += turn[2] * vector[2]
    return turned
