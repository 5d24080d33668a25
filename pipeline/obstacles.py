"""Obstacles around an arm as plain numbers: one row of twelve numbers for each.

| columns | meaning                                                        |
|---------|----------------------------------------------------------------|
| 0–2     | centre in the base frame, m                                    |
| 3–6     | orientation, quaternion xyzw                                   |
| 7–9     | half the edges of a box, m                                     |
| 10      | radius of a disc in the x-y plane by which the box is grown, m |
| 11      | radius of a ball by which the result is grown, m               |

A cylinder is a line along z grown by a disc, a sphere is a point grown by a ball (see
`pipeline.collision_geometry.Shape`). Recordings, data sets, policies and the guard share this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import PipelineError

Array = NDArray[np.float64]
OBSTACLE = "obstacle"
"""Obstacles are named "obstacle 1", "obstacle 2", … in order, the boxes of a scene first."""
NAMES = ("x", "y", "z", "qx", "qy", "qz", "qw", "half_x", "half_y", "half_z", "disc", "ball")
"""Names of the numbers of one obstacle, as tables have them."""
COLUMNS = len(NAMES)
"""Numbers of one obstacle."""
FAR_M = 100.0
"""Coordinate of the centres of unused rows: far from everything, and without size."""
UNIT_TOLERANCE = 1e-3


class ObstacleError(PipelineError):
    """An obstacle is malformed, or there are too many of them."""


@dataclass(frozen=True)
class ObstacleInput:
    """What a policy sees of obstacles."""

    slots: int
    """Largest number of obstacles, K."""
    points: tuple[tuple[int, tuple[float, float, float]], ...]
    """Points on the arm: number of joints before the frame that a point is fixed to, and its
    position there, m."""
    low: tuple[float, float, float]
    """Corner nearest to minus infinity of the region in which obstacles stand, m, base frame."""
    high: tuple[float, float, float]
    """Opposite corner of that region, m."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON form."""
        points = [[joints, list(place)] for joints, place in self.points]
        low, high = list(self.low), list(self.high)
        return {"slots": self.slots, "points": points, "low": low, "high": high}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ObstacleInput:
        """Read what an artefact stores (see `to_dict`).

        Raises:
            KeyError: a key is missing.
            ValueError: a value has the wrong length.
        """
        points = tuple((int(joints), _three(place)) for joints, place in data["points"])
        return cls(int(data["slots"]), points, _three(data["low"]), _three(data["high"]))


def box(centre_m: ArrayLike, size_m: ArrayLike, quaternion: ArrayLike = (0, 0, 0, 1)) -> Array:
    """Describe a box.

    Args:
        centre_m: centre in the base frame, m. Shape (3,).
        size_m: full edges, m. Shape (3,).
        quaternion: orientation, xyzw. Shape (4,).

    Returns:
        Shape (12,).
    """
    half = np.asarray(size_m, float) / 2
    return np.concatenate([np.asarray(centre_m, float), _unit(quaternion), half, [0.0, 0.0]])


def cylinder(
    centre_m: ArrayLike, radius_m: float, length_m: float, quaternion: ArrayLike = (0, 0, 0, 1)
) -> Array:
    """Describe a cylinder along its own z axis.

    Args:
        centre_m: centre in the base frame, m. Shape (3,).
        radius_m: radius, m.
        length_m: full length, m.
        quaternion: orientation, xyzw. Shape (4,).

    Returns:
        Shape (12,).
    """
    size = [0.0, 0.0, length_m / 2, radius_m, 0.0]
    return np.concatenate([np.asarray(centre_m, float), _unit(quaternion), size])


def sphere(centre_m: ArrayLike, radius_m: float) -> Array:
    """Describe a sphere.

    Args:
        centre_m: centre in the base frame, m. Shape (3,).
        radius_m: radius, m.

    Returns:
        Shape (12,).
    """
    size = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, radius_m]
    return np.concatenate([np.asarray(centre_m, float), size])


def parse(obstacles: ArrayLike | Sequence[Mapping[str, Any]]) -> Array:
    """Read obstacles from rows of numbers or from mappings.

    A mapping has `centre_m`, and `size_m` for a box, `radius_m` and `length_m` for a cylinder, or
    `radius_m` alone for a sphere; `quaternion` (xyzw) is optional.

    Args:
        obstacles: shape (M, 12), or M mappings. An empty sequence is no obstacle.

    Returns:
        Shape (M, 12), quaternions of length 1.

    Raises:
        ObstacleError: a shape, key or number is wrong.
    """
    if isinstance(obstacles, Sequence) and any(isinstance(item, Mapping) for item in obstacles):
        return np.stack([_from_mapping(item) for item in obstacles])
    try:
        rows = np.asarray(obstacles, dtype=float)
    except (TypeError, ValueError) as error:
        raise ObstacleError(
            f"obstacles {str(obstacles)[:200]}: {error}; expected {_FORM}"
        ) from error
    if rows.size == 0:
        return np.zeros((0, COLUMNS))
    if rows.ndim != 2 or rows.shape[1] != COLUMNS:
        raise ObstacleError(f"obstacles have shape {rows.shape}; expected {_FORM}")
    if not np.isfinite(rows).all() or (rows[:, 7:] < 0).any():
        bad = rows[~np.isfinite(rows).all(axis=1) | (rows[:, 7:] < 0).any(axis=1)][0]
        raise ObstacleError(
            f"obstacle {bad.tolist()}: expected finite numbers and sizes of 0 or more"
        )
    checked = rows.copy()
    checked[:, 3:7] = [_unit(quaternion) for quaternion in rows[:, 3:7]]
    return checked


def pad(obstacles: NDArray[np.floating], slots: int) -> Array:
    """Fill up with unused rows.

    Args:
        obstacles: shape (M, 12).
        slots: number of rows of the result, K.

    Returns:
        Shape (K, 12).

    Raises:
        ObstacleError: there are more than K obstacles.
    """
    if len(obstacles) > slots:
        raise ObstacleError(
            f"there are {len(obstacles)} obstacles; expected {slots} at most, as "
            "policy.max_obstacles says: raise it and train again, or leave out obstacles that "
            "the arm cannot reach"
        )
    unused = np.zeros((slots - len(obstacles), COLUMNS))
    unused[:, :3], unused[:, 6] = FAR_M, 1.0
    return np.concatenate([obstacles, unused])


def used(rows: Array) -> Array:
    """Drop unused rows.

    Args:
        rows: shape (K, 12).

    Returns:
        Shape (M, 12).
    """
    kept: Array = rows[rows[:, 0] < FAR_M / 2]
    return kept


def simple_shape(row: Array) -> tuple[str, Array]:
    """Convert one obstacle to the form that simulators and pictures use.

    Args:
        row: shape (12,).

    Returns:
        Name and sizes, m, shape (3,): "box" with half its edges, "cylinder" along z with its radius
        and half its length, or "sphere" with its radius. Any other body is enclosed in a box.
    """
    half, disc, ball = row[7:10], float(row[10]), float(row[11])
    if disc > 0 and ball == 0 and not half[:2].any():
        return "cylinder", np.array([disc, half[2], 0.0])
    if ball > 0 and disc == 0 and not half.any():
        return "sphere", np.array([ball, 0.0, 0.0])
    return "box", half + np.array([disc, disc, 0.0]) + ball


def rotations(quaternion: Array) -> Array:
    """Convert unit quaternions xyzw (..., 4) to rotation matrices (..., 3, 3)."""
    x, y, z, w = np.moveaxis(quaternion, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def distances(points: Array, obstacles: Array) -> Array:
    """Compute signed distances from points to obstacles; negative inside.

    Args:
        points: base frame, m. Shape (P, 3).
        obstacles: shape (M, 12).

    Returns:
        m. Shape (P, M).
    """
    turn = rotations(obstacles[:, 3:7])
    local = np.einsum("pmi,mij->pmj", points[:, None] - obstacles[:, :3], turn)
    beyond = np.abs(local) - obstacles[:, 7:10]
    across = np.hypot(*np.maximum(np.moveaxis(beyond[..., :2], -1, 0), 0.0))
    inside = beyond[..., :2].max(axis=-1)
    flat = np.where(across > 0, across, inside) - obstacles[:, 10]
    outside = np.hypot(np.maximum(flat, 0.0), np.maximum(beyond[..., 2], 0.0))
    deepest = np.minimum(np.maximum(flat, beyond[..., 2]), 0.0)
    signed: Array = outside + deepest - obstacles[:, 11]
    return signed


_FORM = (
    "rows of 12 numbers (centre, quaternion xyzw, half edges, radii of disc and ball), or mappings "
    "with centre_m and size_m, or radius_m and length_m, or radius_m"
)


def _from_mapping(item: object) -> Array:
    if not isinstance(item, Mapping) or "centre_m" not in item:
        raise ObstacleError(f"obstacle {item!r}: expected {_FORM}")
    keys = set(item) - {"centre_m", "quaternion"}
    turn = item.get("quaternion", (0.0, 0.0, 0.0, 1.0))
    try:
        if keys == {"size_m"}:
            row = box(item["centre_m"], item["size_m"], turn)
        elif keys == {"radius_m", "length_m"}:
            row = cylinder(item["centre_m"], float(item["radius_m"]), float(item["length_m"]), turn)
        elif keys == {"radius_m"}:
            row = sphere(item["centre_m"], float(item["radius_m"]))
        else:
            raise ObstacleError(f"obstacle {dict(item)}: expected {_FORM}")
    except (TypeError, ValueError) as error:
        raise ObstacleError(f"obstacle {dict(item)}: {error}; expected {_FORM}") from error
    checked: Array = parse(row[None])[0]
    return checked


def _three(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _unit(quaternion: ArrayLike) -> Array:
    values = np.asarray(quaternion, float)
    length = float(np.linalg.norm(values))
    if values.shape != (4,) or not abs(length - 1.0) < UNIT_TOLERANCE:
        raise ObstacleError(
            f"quaternion {values.tolist()} has length {length:.4g}; expected four numbers xyzw of "
            "length 1"
        )
    unit: Array = values / length
    return unit
