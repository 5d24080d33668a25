"""The rules that a joint motion must keep, for one motion or many at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.interpolation import limited_derivative
from pipeline.params import IngestParams

Array = NDArray[np.float64]

# Way-points closer than this in time are one way-point written twice, or times that do not rise.
SAME_S = 1e-9
# A joint beyond this is suspected to be in degrees if radians would fit its limits, rad.
_SUSPICIOUS_RAD = 2 * np.pi
# If at most this share of the velocities is wrong, only those are replaced.
_CUSP_SHARE = 0.05
# Codes of `mend_velocity`.
DERIVED_VELOCITY = ("VEL_DERIVED", "VEL_INCONSISTENT", "CUSP")


class Rejected(Exception):  # noqa: N818 - a finding, not an error of the program
    """A trajectory is rejected."""

    def __init__(self, code: str, value: str, limit: str, segment: int | None = None) -> None:
        """Create the rejection.

        Args:
            code: one of `findings.HINTS`.
            value: what was found.
            limit: what was expected.
            segment: index of the trajectory in its message; None for the whole message.
        """
        super().__init__(f"{code}: {value}, expected {limit}")
        self.code, self.value, self.limit, self.segment = code, value, limit, segment


@dataclass(frozen=True)
class Motion:
    """Joints over time, P points of J joints in the arm's order."""

    t: Array
    """s, strictly increasing. Shape (P,)."""
    joint_pos: Array
    """rad. Shape (P, J)."""
    joint_vel: Array | None
    """rad/s, shape (P, J); None if none were recorded."""
    segment: int
    """Index of the first segment that moves the arm."""
    joint_names: tuple[str, ...]
    """As that segment names them, in its order."""

    @property
    def velocity(self) -> Array:
        """Velocities, derived if none were recorded. Shape (P, J)."""
        return (
            limited_derivative(self.t, self.joint_pos) if self.joint_vel is None else self.joint_vel
        )


@dataclass(frozen=True)
class Extent:
    """What the rules limit, for each of E motions; NaN where a number is not finite."""

    excess_rad: Array
    """Farthest beyond a joint limit; negative within. Shape (E,)."""
    jump_rad: Array
    """Largest step of a joint between two points. Shape (E,)."""
    span_rad: Array
    """Largest range of a joint. Shape (E,)."""

    def broken(self, rules: IngestParams) -> dict[str, NDArray[np.bool_]]:
        """Which motions break which rule, (E,) by code, the first code to be reported first."""
        return {
            "LIMIT_VIOLATION": self.excess_rad > rules.limit_tolerance_rad,
            "WRAP_JUMP": self.jump_rad > rules.wrap_jump_rad,
            "NO_MOTION": self.span_rad < rules.min_motion_rad,
        }


def measure_extent(
    position: Array, starts: NDArray[np.int64], lower: Array, upper: Array
) -> Extent:
    """The extent of each of several motions.

    Args:
        position: of all motions, one after the other, rad. Shape (P, J).
        starts: first row of each motion. Shape (E,).
        lower: smallest positions, rad. Shape (J,).
        upper: largest positions, rad. Shape (J,).
    """
    excess = np.maximum(lower - position, position - upper).max(axis=1)
    step = np.abs(np.diff(position, axis=0, prepend=position[:1])).max(axis=1)
    step[starts] = 0.0  # from one motion to the next
    ranges = np.maximum.reduceat(position, starts) - np.minimum.reduceat(position, starts)
    return Extent(
        np.maximum.reduceat(excess, starts), np.maximum.reduceat(step, starts), ranges.max(axis=1)
    )


def velocity_misses(t: Array, position: Array, velocity: Array) -> Array:
    """Distance of the mean of two velocities from the slope between, rad/s. Shape (P - 1,).

    Args:
        t: s. Shape (P,).
        position: rad. Shape (P, J).
        velocity: rad/s. Shape (P, J).
    """
    slope = np.diff(position, axis=0) / np.diff(t)[:, None]
    misses: Array = np.abs((velocity[1:] + velocity[:-1]) / 2 - slope).max(axis=1)
    return misses


def is_too_short(t: Array, rules: IngestParams) -> bool:
    """Whether a motion has too few points.

    Args:
        t: its times, s. Shape (P,).
        rules: section `ingest` of params.yaml.
    """
    return len(t) < rules.min_points


def check_motion(
    motion: Motion, lower: Array, upper: Array, sliding: NDArray[np.bool_], rules: IngestParams
) -> None:
    """Reject a motion that no arm should learn from.

    Args:
        motion: the planned motion; its numbers are finite.
        lower: smallest positions, rad. Shape (J,).
        upper: largest positions, rad. Shape (J,).
        sliding: joints whose positions are m. Shape (J,).
        rules: section `ingest` of params.yaml.

    Raises:
        Rejected: points are too few, or positions break a rule.
    """
    segment = motion.segment
    if is_too_short(motion.t, rules):
        limit = f"{rules.min_points} points"
        raise Rejected("TOO_SHORT", f"{len(motion.t)} points", limit, segment)
    extent = measure_extent(motion.joint_pos, np.zeros(1, np.int64), lower, upper)
    code = next((code for code, broken in extent.broken(rules).items() if broken[0]), None)
    if code == "LIMIT_VIOLATION":
        _reject_excess(motion, lower, upper, sliding, rules)
    elif code == "WRAP_JUMP":
        value = f"{extent.jump_rad[0]:.4f} rad"
        raise Rejected("WRAP_JUMP", value, f"{rules.wrap_jump_rad} rad", segment)
    elif code == "NO_MOTION":
        value = f"{extent.span_rad[0]:.6f} rad"
        raise Rejected("NO_MOTION", value, f"{rules.min_motion_rad} rad", segment)


def _reject_excess(
    motion: Motion,
    lower: Array,
    upper: Array,
    sliding: NDArray[np.bool_],
    rules: IngestParams,
) -> None:
    position, segment = motion.joint_pos, motion.segment
    excess = np.maximum(lower - position, position - upper)
    point, joint = np.unravel_index(int(np.argmax(excess)), excess.shape)
    unit = "m" if sliding[joint] else "rad"
    largest = float(np.abs(np.where(sliding, 0.0, position)).max())
    radians = np.where(sliding, position, np.deg2rad(position))
    tolerance = rules.limit_tolerance_rad
    if largest > _SUSPICIOUS_RAD and np.all(
        (radians >= lower - tolerance) & (radians <= upper + tolerance)
    ):
        raise Rejected("SUSPECT_DEGREES", f"{largest:.2f}", "radians", segment)
    value = f"{position[point, joint]:.5f} {unit} at point {point}, joint {joint + 1}"
    limit = f"{lower[joint]:.5f} … {upper[joint]:.5f} {unit}"
    raise Rejected("LIMIT_VIOLATION", value, limit, segment)


def mend_velocity(
    t: Array, position: Array, velocity: Array | None, tolerance_rad_s: float
) -> tuple[Array, tuple[str, str, str] | None]:
    """Velocities that fit the positions.

    Args:
        t: strictly increasing times, s. Shape (P,).
        position: rad. Shape (P, J).
        velocity: as recorded, rad/s, shape (P, J), or None.
        tolerance_rad_s: largest distance of the mean of two velocities from the slope between.

    Returns:
        Velocities (P, J), and code, value and limit of a finding if some were derived.
    """
    if velocity is None or not np.isfinite(velocity).all():
        value = "no velocities" if velocity is None else "velocities that are not finite"
        return limited_derivative(t, position), ("VEL_DERIVED", value, "finite velocities")
    miss = velocity_misses(t, position, velocity)
    bad = miss > tolerance_rad_s
    if not bad.any():
        return velocity, None
    limit = f"{tolerance_rad_s} rad/s"
    derived = limited_derivative(t, position)
    if bad.mean() > _CUSP_SHARE:
        return derived, ("VEL_INCONSISTENT", f"{miss.max():.4f} rad/s off", limit)
    first = int(np.argmax(bad))
    value = (
        f"{miss.max():.4f} rad/s off in {bad.sum()} of {len(bad)} intervals, at {t[first]:.3f} s"
    )
    either = np.concatenate([bad, [False]]) | np.concatenate([[False], bad])
    return np.where(either[:, None], derived, velocity), ("CUSP", value, limit)


def idle_ends(paths: Sequence[Array], idle_rad: float) -> slice:
    """The samples without the starts and ends at rest; all samples if nothing moves.

    Args:
        paths: joint positions at the same T times, rad, such as the measured and the commanded.
            Shape (T, J) each.
        idle_rad: a joint nearer than this to its first (last) position does not move yet (any
            more), rad; 0 keeps everything.

    Returns:
        From the last sample before the motion to the first after it.
    """
    steps = len(paths[0])
    if not idle_rad:
        return slice(0, steps)
    left = np.zeros(steps, np.bool_)
    right = np.zeros(steps, np.bool_)
    for path in paths:
        left |= np.abs(path - path[0]).max(axis=1) > idle_rad
        right |= np.abs(path - path[-1]).max(axis=1) > idle_rad
    if not left.any() or not right.any():
        return slice(0, steps)
    first = max(0, int(np.argmax(left)) - 1)
    last = min(steps - 1, steps - int(np.argmax(right[::-1])))
    return slice(first, last + 1)
