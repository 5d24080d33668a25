"""Counts the ways of the demonstrations to similar goals: many ways are hard to learn. Pure.

Needs no inverse kinematics: ways differ in the end configurations of episodes whose objects lie
next to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

# An axis that leans by a radian counts as much as an object that lies this far away, m.
_AXIS_M = 0.2
# Demonstrations take several ways if at least this share of neighbours takes another way.
_SEVERAL = 0.05
# To find joints that move nothing: number of poses, step of a joint, smallest motion, rad and m.
_PROBES, _STEP_RAD, _STILL = 8, 0.1, 1e-6
# Groups of neighbours whose ways are counted at once.
_AT_ONCE = 1024
# Ways are not counted in fewer episodes.
_FEWEST = 20
# At most so many episodes are compared with their neighbours.
_MOST = 20_000


@dataclass(frozen=True)
class Modes:
    """End configurations at similar goals, compared; J joints."""

    episodes: int
    neighbours: int
    """Number of episodes to which each was compared."""
    neighbour_distance_m: float
    """Median distance between the objects of neighbours."""
    ways: float
    """Mean number of different ways among an episode and its neighbours; a joint that only turns
    the gripper about its own axis makes none."""
    ways_most: int
    """Largest number of ways."""
    other_way_share: float
    """Share of neighbours that end on another way."""
    joint_spread_rad: tuple[float, ...]
    """Median distance of each joint between neighbours at their ends, rad. J of them."""
    joint_other_share: tuple[float, ...]
    """Share of neighbours that are further apart than the gap in each joint. J of them."""
    free_joints: tuple[str, ...]
    """Joints that only turn the gripper about its own axis."""
    yaw_spread_deg: float
    """Median angle between neighbours about the gripper's own axis, degrees."""
    verdict: str
    """One way or several, in a sentence."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON form, rounded."""
        return {
            key: round(value, 4) if isinstance(value, float)
            else [round(part, 4) if isinstance(part, float) else part for part in value]
            if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }  # fmt: skip


def find_modes(
    joints: tuple[str, ...],
    ends: Array,
    ee_ends: Array,
    objects: Array,
    fk: Callable[[Array], Array],
    neighbours: int,
    gap_rad: float,
) -> Modes | None:
    """Compare each episode's end to those of the episodes with the nearest objects.

    Of more than 20,000 episodes at most 20,000, evenly spaced, are compared to all.

    Args:
        joints: names of the J joints.
        ends: last joint positions of E episodes, rad. Shape (E, J).
        ee_ends: last TCP poses, m and quaternion xyzw. Shape (E, 7).
        objects: position and axis of the objects, m. Shape (E, 6).
        fk: forward kinematics, joint positions (N, J) to poses (N, 7).
        neighbours: how many episodes each is compared to.
        gap_rad: ends further apart than this in some joint are different ways, rad.

    Returns:
        The comparison; None if there are too few episodes.
    """
    number = min(neighbours, len(ends) - 1)
    if len(ends) < _FEWEST:
        return None
    goals = objects * np.array([1.0, 1.0, 1.0, _AXIS_M, _AXIS_M, _AXIS_M])
    # A sample bounds memory.
    asked = np.arange(0, len(ends), -(-len(ends) // _MOST))
    _, found = cKDTree(goals).query(goals[asked], k=number + 1)
    first = np.repeat(asked, number)
    others = _others(found, asked, number)
    second = others.ravel()
    apart = np.abs(ends[second] - ends[first])
    free = _free_joints(ends, fk)
    alike = (apart[:, ~free] <= gap_rad).all(axis=1)
    groups = np.concatenate([asked[:, None], others], axis=1)
    # In parts, to bound memory: each group is compared with itself.
    parts = np.array_split(groups, max(1, len(groups) // _AT_ONCE))
    ways = np.concatenate([_local_ways(ends[:, ~free][part], gap_rad) for part in parts])
    other = float(1 - alike.mean())
    yaw = np.rad2deg(np.abs(_twist(ee_ends[first, 3:], ee_ends[second, 3:])))
    spread = float(np.median(yaw))
    return Modes(
        episodes=len(ends),
        neighbours=number,
        neighbour_distance_m=float(
            np.median(np.linalg.norm(objects[second, :3] - objects[first, :3], axis=1))
        ),
        ways=float(ways.mean()),
        ways_most=int(ways.max()),
        other_way_share=other,
        joint_spread_rad=tuple(float(value) for value in np.median(apart, axis=0)),
        joint_other_share=tuple(float(value) for value in (apart > gap_rad).mean(axis=0)),
        free_joints=tuple(name for name, is_free in zip(joints, free, strict=True) if is_free),
        yaw_spread_deg=spread,
        verdict=_verdict(other, float(ways.mean())),
    )


def _others(found: NDArray[np.int64], asked: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Neighbours without the episode itself, wherever it is among equally near ones. (E, K)."""
    own = found == asked[:, None]
    own[~own.any(axis=1), -1] = True
    others: NDArray[np.int64] = found[~own].reshape(len(found), number)
    return others


def _free_joints(ends: Array, fk: Callable[[Array], Array]) -> NDArray[np.bool_]:
    """Joints that move neither the TCP nor its z axis at any probe. Shape (J,)."""
    probes = ends[:: max(1, len(ends) // _PROBES)][:_PROBES]
    before = fk(probes)
    free = np.zeros(ends.shape[1], np.bool_)
    for joint in range(ends.shape[1]):
        moved = probes.copy()
        moved[:, joint] += _STEP_RAD
        after = fk(moved)
        shift = np.abs(after[:, :3] - before[:, :3]).max()
        tilt = np.abs(_z_axis(after[:, 3:]) - _z_axis(before[:, 3:])).max()
        free[joint] = max(shift, tilt) < _STILL
    return free


def _z_axis(quaternion: Array) -> Array:
    x, y, z, w = quaternion.T
    return np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)


def _twist(one: Array, two: Array) -> Array:
    """Angle about the gripper's z axis from one orientation to another, rad, in ±π. Shape (N,).

    The swing-twist decomposition of the relative rotation.
    """
    x1, y1, z1, w1 = one.T
    x2, y2, z2, w2 = two.T
    z = w1 * z2 - z1 * w2 - x1 * y2 + y1 * x2
    w = w1 * w2 + x1 * x2 + y1 * y2 + z1 * z2
    angle: Array = (2 * np.arctan2(z, w) + np.pi) % (2 * np.pi) - np.pi
    return angle


def _local_ways(ends: Array, gap_rad: float) -> NDArray[np.int64]:
    """The number of ways in each group of ends; ends within the gap are one way. Shape (E,).

    Args:
        ends: ends of an episode and its neighbours, rad. Shape (E, K, J).
        gap_rad: as in `find_modes`.
    """
    size = ends.shape[1]
    near = (np.abs(ends[:, :, None] - ends[:, None]) <= gap_rad).all(axis=3)
    # Squaring gives the transitive closure: a chain of near ends is one way.
    for _ in range(int(np.ceil(np.log2(size)))):
        near = np.matmul(near, near)
    # Each way is counted at its first member.
    earlier = near & np.tri(size, k=-1, dtype=np.bool_)
    ways: NDArray[np.int64] = (~earlier.any(axis=2)).sum(axis=1)
    return ways


def _verdict(other: float, ways: float) -> str:
    # Sparse demonstrations on one way may differ by more than the gap.
    if other < _SEVERAL or ways < 1 + _SEVERAL:
        return "one way: neighbouring objects are reached alike"
    return (
        f"several ways: {other:.0%} of neighbouring demonstrations end in different "
        f"configurations, {ways:.1f} of them among neighbours on average. On 1,000 such "
        "demonstrations (random branch and yaw) the default recipe reached 98.8 to 99.8 % "
        "strict and free of contact where those of one way reach 100 % (docs/results.md)"
    )
