"""Classifies failed rollouts and collects the evidence and the nearest demonstrations.

N rollouts, T control steps, J joints, E training episodes, R training rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.dataset.store import Dataset
from pipeline.dataset.windows import episode_rows, episode_starts
from pipeline.evaluation import metrics
from pipeline.evaluation.execution import guard_finding
from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.trials import Trials
from pipeline.params import TaskParams
from pipeline.params.deployment import FailureParams
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]

CLASSES = {
    "collision": "touched the table, an obstacle, the object or itself at some step",
    "limit": "a joint was at its position limit in all of the last steps, and the expert's was not",
    "overshoot": "was within the tolerance and left it, or came within one object length of the "
    "cap and moved away by more than the tolerance, or ended at the object but past the cap",
    "off the data": "the object is more isolated than any demonstrated one, or the arm ended far "
    "from every pose of the demonstrations",
    "wrong mode": "the arm ended near demonstrated poses, but far from the demonstrations with "
    "similar objects and from the expert's path",
    "stopped short": "followed a demonstrated path to a similar object, but never came within the "
    "tolerance",
}
"""Every class and its meaning. The rules are tried in this order, and the first that holds names
the class. Collisions and limits come first, since they explain what follows."""


@dataclass(frozen=True)
class Demonstrations:
    """The training episodes that a failure is compared with."""

    episodes: NDArray[np.int64]
    """Indices in the data set. Shape (E,)."""
    object_pos: Array
    """Centres of the objects in the base frame, m. Shape (E, 3)."""
    object_axis: Array
    """Unit axes of the objects. Shape (E, 3)."""
    joint_pos: Array
    """Joint positions of every training row, in the order of the episodes, rad. Shape (R, J)."""
    owner: NDArray[np.int64]
    """Episode of each row, 0 to E − 1. Shape (R,)."""

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Demonstrations:
        """Read the training split of a data set.

        Args:
            dataset: data set whose state has the joint positions and the object's pose.

        Raises:
            LayoutError: the state lacks one of them.
        """
        episodes, layout = dataset.episodes("train"), dataset.layout
        first = episode_starts(dataset.episode_ends)[episodes]
        rows = episode_rows(dataset.episode_ends, episodes)
        lengths = dataset.episode_ends[episodes] - first

        def part(kind: str, which: NDArray[np.int64]) -> Array:
            return layout.unpack(dataset.state[which], kind).astype(np.float64)

        return cls(
            episodes,
            part("object_pos", first),
            part("object_axis", first),
            part("joint_pos", rows),
            np.repeat(np.arange(len(episodes)), lengths),
        )


@dataclass(frozen=True)
class Neighbour:
    """A training episode with an object nearby."""

    episode: int
    """Index in the data set."""
    offset_mm: float
    """Distance between the objects' centres, mm."""
    angle_deg: float
    """Angle between the objects' axes, degrees."""


@dataclass(frozen=True)
class Evidence:
    """The numbers that the rules use, for one rollout."""

    final_mm: float
    """Distance from the cap at the end, mm."""
    final_deg: float
    """Angle to the object's axis at the end, degrees."""
    closest_mm: float
    """Smallest distance from the cap, mm."""
    beyond_mm: float
    """Final distance past the cap along the approach, mm; negative in front of the cap."""
    collided: bool
    touched: str
    """The first pair that touched, and when; empty if none did."""
    was_inside: bool
    """Whether position and angle were within the strict tolerance at some step."""
    limit_joint: str
    """Joint that was at its limit; empty if none was."""
    isolation: float
    """Distance from the object to the nearest demonstrated one, divided by the largest such
    distance among the demonstrations."""
    data_rad: float
    """Largest joint difference between the last pose and the nearest demonstrated pose, rad."""
    way_rad: float
    """The same for the expert's path and the demonstrations with similar objects, rad."""
    guard: str = ""
    """The guard's most severe verdict and its reason; empty if there is none."""


@dataclass(frozen=True)
class Failure:
    """A failed rollout."""

    trial: int
    kind: str
    """One of CLASSES."""
    evidence: Evidence
    nearest: tuple[Neighbour, ...]
    """Training episodes with the nearest objects, nearest first."""


def failure_class(evidence: Evidence, task: TaskParams, params: FailureParams) -> str:
    """Return the first class whose rule holds, in the order of CLASSES.

    Args:
        evidence: evidence of one rollout that failed strictly or touched something.
        task: tolerances.
        params: thresholds.
    """
    arrived = evidence.final_mm <= task.team_cap_m * 1000 and evidence.final_deg <= task.strict_deg
    # An arm that arrived at the object took a path that works, demonstrated or not.
    astray = evidence.way_rad > params.path_rad and not arrived
    strict_mm, length_mm = task.strict_m * 1000, task.object_length_m * 1000
    left = evidence.closest_mm <= min(length_mm, evidence.final_mm - strict_mm)
    pushed = evidence.final_mm <= length_mm and evidence.beyond_mm > strict_mm
    rules = {
        "collision": evidence.collided,
        "limit": bool(evidence.limit_joint),
        "overshoot": evidence.was_inside or left or pushed,
        "off the data": evidence.isolation > 1 or evidence.data_rad > params.path_rad,
        "wrong mode": astray,
    }
    return next((name for name, holds in rules.items() if holds), "stopped short")


def classify(
    policy: ClosedLoop,
    expert: ClosedLoop,
    trials: Trials,
    demonstrations: Demonstrations,
    robot: RobotModel,
    task: TaskParams,
    params: FailureParams,
) -> list[Failure]:
    """Classify every rollout that failed strictly or touched something.

    Args:
        policy: N judged rollouts of the policy.
        expert: the expert's rollouts on the same trials.
        trials: objects of the rollouts.
        demonstrations: the training episodes.
        robot: the arm, for its joint limits.
        task: tolerances and the object's length.
        params: thresholds.

    Returns:
        The failures, in the order of the trials.
    """
    failed = np.flatnonzero(~policy.passed["collision_free"])
    if not len(failed):
        return []
    length = task.object_length_m
    tree = cKDTree(
        metrics.object_key(demonstrations.object_pos, demonstrations.object_axis, length)
    )
    wanted = metrics.object_key(trials.object_pos[failed], trials.object_axis[failed], length)
    spacing = tree.query(tree.data, k=[2])[0].max()
    share = max(params.neighbours, round(params.way_share * len(demonstrations.episodes)))
    distances, nearest = tree.query(wanted, k=range(1, share + 1))
    found = []
    for trial, distance, near in zip(failed.tolist(), distances, nearest, strict=True):
        near = near[near < len(demonstrations.episodes)]  # noqa: PLW2901 (fewer than k: padded)
        # A single demonstration gives no spacing to compare with.
        isolation = float(distance[0] / spacing) if np.isfinite(spacing) and spacing else 0.0
        limit = _limit_joint(policy, expert, trial, robot, task, params)
        ways = _ways(policy, expert, trial, near, demonstrations, robot.continuous)
        evidence = _evidence(policy, trials, trial, task, limit, isolation, ways)
        kind = failure_class(evidence, task, params)
        neighbours = _neighbours(near[: params.neighbours], trial, trials, demonstrations)
        found.append(Failure(trial, kind, evidence, neighbours))
    return found


def count(failures: list[Failure]) -> dict[str, int]:
    """Count the failures of each class, including empty classes.

    Args:
        failures: failures of one evaluation.
    """
    return {name: sum(failure.kind == name for failure in failures) for name in CLASSES}


def _evidence(
    policy: ClosedLoop,
    trials: Trials,
    trial: int,
    task: TaskParams,
    limit_joint: str,
    isolation: float,
    ways: tuple[float, float],
) -> Evidence:
    cap_m, angle = policy.error.cap_m[trial], policy.error.angle_deg[trial]
    position, axis = trials.object_pos[trial], trials.object_axis[trial]
    offset = policy.rollouts.ee_pose[trial, -1, :3] - metrics.object_cap(
        position, axis, task.object_length_m
    )
    return Evidence(
        final_mm=float(cap_m[-1] * 1000),
        final_deg=float(angle[-1]),
        closest_mm=float(cap_m.min() * 1000),
        beyond_mm=float(-offset @ axis * 1000),
        collided=bool(policy.collided[trial]),
        touched=str(policy.contacts[trial] or ""),
        was_inside=bool(((cap_m <= task.strict_m) & (angle <= task.strict_deg)).any()),
        limit_joint=limit_joint,
        isolation=isolation,
        data_rad=ways[0],
        way_rad=ways[1],
        guard=guard_finding(policy.rollouts, trial),
    )


def _limit_joint(
    policy: ClosedLoop,
    expert: ClosedLoop,
    trial: int,
    robot: RobotModel,
    task: TaskParams,
    params: FailureParams,
) -> str:
    """Find the first joint that is at, or commanded to, a limit while the expert's joint is not."""

    def pressed(joint_pos: Array) -> NDArray[np.bool_]:
        margin = params.limit_margin_rad
        outside = (joint_pos <= robot.lower + margin) | (joint_pos >= robot.upper - margin)
        return np.asarray(outside.all(axis=0))

    last = (trial, slice(-task.settle_steps, None))
    stuck = pressed(policy.rollouts.joint_pos[last]) | pressed(policy.rollouts.command[last])
    stuck &= ~pressed(expert.rollouts.joint_pos[last])
    return robot.joints[int(np.argmax(stuck))] if stuck.any() else ""


def _ways(
    policy: ClosedLoop,
    expert: ClosedLoop,
    trial: int,
    near: NDArray[np.int64],
    demonstrations: Demonstrations,
    continuous: NDArray[np.bool_],
) -> tuple[float, float]:
    """Distances from the arm's last pose to all demonstrations and to known paths, rad."""
    last = policy.rollouts.joint_pos[trial, -1]
    to_data = metrics.joint_distance(demonstrations.joint_pos, last, continuous)
    to_expert = metrics.joint_distance(expert.rollouts.joint_pos[trial], last, continuous)
    known = np.isin(demonstrations.owner, near)
    return float(to_data.min()), float(min(to_data[known].min(), to_expert.min()))


def _neighbours(
    near: NDArray[np.int64], trial: int, trials: Trials, demonstrations: Demonstrations
) -> tuple[Neighbour, ...]:
    offset = np.linalg.norm(demonstrations.object_pos[near] - trials.object_pos[trial], axis=1)
    cosine = demonstrations.object_axis[near] @ trials.object_axis[trial]
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return tuple(
        Neighbour(int(demonstrations.episodes[which]), float(metres * 1000), float(degrees))
        for which, metres, degrees in zip(near, offset, angle, strict=True)
    )
