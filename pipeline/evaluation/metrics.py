"""Computes open- and closed-loop metrics from arrays.

N rollouts or windows, T control steps, H steps of a chunk, J joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipeline.params import TaskParams

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
MEASURES = {
    "collision_free": "collision_free",
    "strict": "strict",
    "tight": "5mm",
    "team": "team",
}
"""Names of the success measures in metrics.json, the headline first."""


@dataclass(frozen=True)
class ReachError:
    """Errors of the gripper relative to the grasp, for any number of poses."""

    cap_m: Array
    """Distance of the TCP from the object's cap, m. Shape (...,)."""
    axis_m: Array
    """Distance of the TCP from the line through the object's axis, m. Shape (...,)."""
    angle_deg: Array
    """Angle between the gripper's z axis and the reversed object axis, degrees. Shape (...,)."""

    def first(self, number: int) -> ReachError:
        """Select the first entries along the first axis.

        Args:
            number: number of entries; all if there are fewer.
        """
        return ReachError(self.cap_m[:number], self.axis_m[:number], self.angle_deg[:number])


def object_cap(object_pos: Array, object_axis: Array, length_m: float) -> Array:
    """Compute the position of the object's cap, the end that is grasped.

    Args:
        object_pos: centre, m. Shape (..., 3).
        object_axis: unit axis. Shape (..., 3).
        length_m: length of the object, m.

    Returns:
        Cap, m. Shape (..., 3).
    """
    return object_pos + object_axis * (length_m / 2)


def object_key(object_pos: Array, object_axis: Array, length_m: float) -> Array:
    """Map objects to points whose distance tells how similar the objects' poses are.

    A rotation counts by how far it moves one end of the object against the other.

    Args:
        object_pos: centre, m. Shape (..., 3).
        object_axis: unit axis. Shape (..., 3).
        length_m: length of the object, m.

    Returns:
        Points, m. Shape (..., 6).
    """
    return np.concatenate([object_pos, object_axis * length_m], axis=-1)


def pose_z_axis(pose: Array) -> Array:
    """Compute the z axis of poses.

    Args:
        pose: xyz in m and unit quaternion xyzw. Shape (..., 7).

    Returns:
        Unit vectors. Shape (..., 3).
    """
    x, y, z, w = np.moveaxis(pose[..., 3:], -1, 0)
    return np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=-1)


def reach_error(
    ee_pose: Array, object_pos: Array, object_axis: Array, length_m: float
) -> ReachError:
    """Compute the errors of TCP poses relative to the grasp.

    The grasp is at the cap, with z opposite to the object's axis and a free yaw angle.

    Args:
        ee_pose: TCP, m and quaternion xyzw. Shape (..., 7).
        object_pos: centre of the object, m. Broadcasts to (..., 3).
        object_axis: unit axis of the object. Broadcasts to (..., 3).
        length_m: length of the object, m.
    """
    offset = ee_pose[..., :3] - object_cap(object_pos, object_axis, length_m)
    along = np.sum(offset * object_axis, axis=-1, keepdims=True) * object_axis
    z_axis = pose_z_axis(ee_pose)
    sine = np.linalg.norm(np.cross(z_axis, -object_axis), axis=-1)
    cosine = np.sum(z_axis * -object_axis, axis=-1)
    return ReachError(
        cap_m=np.linalg.norm(offset, axis=-1),
        axis_m=np.linalg.norm(offset - along, axis=-1),
        angle_deg=np.degrees(np.arctan2(sine, cosine)),
    )


def success(error: ReachError, collided: Mask, task: TaskParams) -> dict[str, Mask]:
    """Tell which rollouts succeeded, by four measures.

    Args:
        error: errors over time. Shape (N, T).
        collided: whether a rollout ever collided. Shape (N,).
        task: thresholds; strict and tight must hold in each of the last `settle_steps` steps.

    Returns:
        `team` (the team's measure, at the last step), `strict`, `tight` and `collision_free`
        (strict without any contact). Shape (N,) each.
    """
    last = slice(-task.settle_steps, None)

    def held(position_m: float, angle_deg: float) -> Mask:
        near = error.cap_m[:, last] <= position_m
        aligned = error.angle_deg[:, last] <= angle_deg
        kept: Mask = np.all(near & aligned, axis=1)
        return kept

    team: Mask = (error.cap_m[:, -1] <= task.team_cap_m) & (error.axis_m[:, -1] <= task.team_axis_m)
    strict = held(task.strict_m, task.strict_deg)
    return {
        "team": team,
        "strict": strict,
        "tight": held(task.tight_m, task.tight_deg),
        "collision_free": strict & ~collided,
    }


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Compute the 95 % Wilson score interval of a proportion.

    Args:
        successes: number of successes.
        trials: number of trials, at least one.

    Returns:
        Lower and upper bound, within [0, 1].

    Raises:
        ValueError: `trials` is below 1 or `successes` is not within 0 to `trials`.
    """
    # SciPy 1.18 (Python 3.12 and later) gives NaN for these, 1.17 raises.
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} of {trials} must be a proportion of one trial or more")
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def share_interval(passed: Mask) -> list[float]:
    """Compute the 95 % Wilson interval of the share that passed, for metrics.json.

    Args:
        passed: whether each of N ≥ 1 trials passed. Shape (N,).
    """
    return list(wilson_interval(int(passed.sum()), len(passed)))


def quaternion_angle_deg(first: Array, second: Array) -> Array:
    """Compute the angle of the rotation between unit quaternions, degrees.

    Args:
        first: xyzw. Shape (..., 4).
        second: xyzw. Shape (..., 4).

    Returns:
        Angles in [0, 180]. Shape (...,).
    """
    # atan2 form: arccos loses half the digits near zero.
    sign = np.where(np.sum(first * second, axis=-1, keepdims=True) < 0, -1.0, 1.0)
    near, far = first - sign * second, first + sign * second
    quarter = np.arctan2(np.linalg.norm(near, axis=-1), np.linalg.norm(far, axis=-1))
    return np.asarray(np.degrees(4 * quarter))


def chunk_errors(predicted: Array, expert: Array) -> dict[str, Array]:
    """Compute the joint errors of predicted chunks.

    Args:
        predicted: joint positions, rad. Shape (W, H, J).
        expert: the expert's joint positions, rad. Shape (W, H, J).

    Returns:
        Root mean squares in degrees: `per_joint` (J,), `per_step` (H,), `total` ().
    """
    square = np.degrees(predicted - expert) ** 2
    return {
        "per_joint": np.sqrt(square.mean(axis=(0, 1))),
        "per_step": np.sqrt(square.mean(axis=(0, 2))),
        "total": np.sqrt(square.mean()),
    }


def joint_distance(joint_pos: Array, other: Array, continuous: Mask) -> Array:
    """Compute the largest difference over the joints; continuous joints wrap around.

    Args:
        joint_pos: joint positions, rad. Shape (..., J).
        other: joint positions to compare with, rad. Shape (J,).
        continuous: whether a joint is continuous. Shape (J,).

    Returns:
        Largest difference, rad. Shape (...,).
    """
    apart = np.abs(joint_pos - other)
    short = np.abs((apart + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray(np.where(continuous, short, apart).max(axis=-1))


def root_mean_square_jerk(joint_pos: Array, rate_hz: float) -> float:
    """Compute the root mean square jerk from the third difference.

    Args:
        joint_pos: joint positions, rad. Shape (..., T, J), T at least 4.
        rate_hz: samples per second.

    Returns:
        Jerk, rad/s³.
    """
    return float(np.sqrt(np.mean((np.diff(joint_pos, n=3, axis=-2) * rate_hz**3) ** 2)))


def limit_violations(
    joint_pos: Array, lower: Array, upper: Array, velocity_limits: Array, rate_hz: float
) -> dict[str, int]:
    """Count the commands outside the limits.

    Args:
        joint_pos: commands, rad. Shape (..., T, J).
        lower: lower limits, rad. Shape (J,).
        upper: upper limits, rad. Shape (J,).
        velocity_limits: rad/s. Shape (J,).
        rate_hz: commands per second.

    Returns:
        `position`: number of positions outside their range; `velocity`: number of steps that are
        too fast.
    """
    outside = (joint_pos < lower) | (joint_pos > upper)
    fast = np.abs(np.diff(joint_pos, axis=-2)) * rate_hz > velocity_limits
    return {"position": int(outside.sum()), "velocity": int(fast.sum())}


def closed_loop_summary(error: ReachError, collided: Mask, task: TaskParams) -> dict[str, Any]:
    """Summarise a set of rollouts.

    Args:
        error: errors over time. Shape (N, T).
        collided: whether a rollout had a forbidden contact. Shape (N,).
        task: thresholds.

    Returns:
        JSON numbers: n, success by each measure and its 95 % interval, errors at the last step,
        share of rollouts without contact and its interval, number of rollouts with contact. The
        headline is `success_collision_free`: strict success without contact.
    """
    final_mm, passed = error.cap_m[:, -1] * 1000, success(error, collided, task)
    return {
        "n": len(error.cap_m),
        **{f"success_{name}": float(passed[key].mean()) for key, name in MEASURES.items()},
        **{f"ci95_{name}": share_interval(passed[key]) for key, name in MEASURES.items()},
        "contact_free": float((~collided).mean()),
        "ci95_contact_free": share_interval(~collided),
        "error_mm_median": float(np.median(final_mm)),
        "error_mm_p95": float(np.percentile(final_mm, 95)),
        "error_deg_median": float(np.median(error.angle_deg[:, -1])),
        "collisions": int(collided.sum()),
    }
