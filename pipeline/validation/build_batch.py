"""Validates many recorded plans at once. Pure.

Most plans break no rule: one pass over the numbers of all plans finds those. Every other plan goes
through `build_drafts`, which mends it or says why it is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode
from pipeline.kinematics import continue_paths
from pipeline.params import IngestParams
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import Candidate, Source
from pipeline.validation.build_episode import (
    Arm,
    Draft,
    Result,
    build_draft,
    build_drafts,
    object_place,
)
from pipeline.validation.rules import (
    SAME_S,
    Motion,
    Rejected,
    is_too_short,
    measure_extent,
    velocity_misses,
)

Array = NDArray[np.float64]

BATCH_POINTS = 4096
"""Points that are checked at once: enough to make calls cheap, few enough for the CPU's cache."""


def build_results(
    candidates: Iterable[Candidate | Result], source: Source, arm: Arm, rules: IngestParams
) -> Iterator[list[Result]]:
    """Results for every trajectory, in the order of the candidates, batch by batch.

    Args:
        candidates: plans with their context; results among them keep their place.
        source: the recording.
        arm: joints, limits, forward kinematics.
        rules: section `ingest` of params.yaml.
    """
    waiting: list[Candidate | Result] = []
    points = 0
    for item in candidates:
        waiting.append(item)
        points += 1
        if isinstance(item, Candidate):
            points += sum(len(segment.t) for segment in item.plan.segments)
        if points >= BATCH_POINTS:
            yield build_batch_results(waiting, source, arm, rules)
            waiting, points = [], 0
    if waiting:
        yield build_batch_results(waiting, source, arm, rules)


def build_batch_results(
    items: Sequence[Candidate | Result], source: Source, arm: Arm, rules: IngestParams
) -> list[Result]:
    """Results for one batch, in its order.

    Args:
        items: plans with their context; results among them keep their place.
        source: the recording.
        arm: joints, limits, forward kinematics.
        rules: section `ingest` of params.yaml.
    """
    taken = _BatchCheck(arm, rules).clean(items, source)
    drafts: list[Draft | Result] = []
    for index, item in enumerate(items):
        if index in taken:
            drafts.append(taken[index])
        elif isinstance(item, Result):
            drafts.append(item)
        else:
            drafts += build_drafts(item, source, arm, rules)
    return add_poses(drafts, arm)


def add_poses(drafts: Sequence[Draft | Result], arm: Arm) -> list[Result]:
    """Turn drafts into results whose episodes have the TCP's poses.

    Args:
        drafts: episodes without poses; results among them keep their place.
        arm: forward kinematics.
    """
    own = [draft for draft in drafts if isinstance(draft, Draft)]
    if not own:
        return [item for item in drafts if isinstance(item, Result)]
    lengths = np.array([len(draft.t) for draft in own])
    poses = arm.fk(np.concatenate([draft.joint_pos for draft in own]))
    poses[:, 3:] = continue_paths(poses[:, 3:], np.cumsum(lengths) - lengths)
    paths = iter(np.split(poses, np.cumsum(lengths)[:-1]))
    return [
        item if isinstance(item, Result) else Result(_episode(item, next(paths)), item.findings)
        for item in drafts
    ]


def _episode(draft: Draft, ee_pose: Array) -> Episode:
    return Episode(
        t=draft.t,
        joint_pos=draft.joint_pos,
        joint_vel=draft.joint_vel,
        joint_command=draft.joint_command,
        ee_pose=ee_pose,
        object_pos=draft.place[0],
        object_axis=draft.place[1],
        provenance=draft.provenance,
        obstacles=draft.obstacles,
    )


class _BatchCheck:
    """Finds plans of one segment that break no rule."""

    def __init__(self, arm: Arm, rules: IngestParams) -> None:
        self._arm, self._rules = arm, rules
        self._columns: dict[tuple[str, ...], list[int] | None] = {}

    def clean(self, items: Sequence[Candidate | Result], source: Source) -> dict[int, Draft]:
        """Drafts of the plans that break no rule, by their index."""
        simple = [
            (index, item, motion)
            for index, item in enumerate(items)
            if isinstance(item, Candidate) and (motion := self._simple(item)) is not None
        ]
        if not simple:
            return {}
        fine = self._fine([motion for _, _, motion in simple])
        drafts = {}
        for (index, item, motion), is_fine in zip(simple, fine.tolist(), strict=True):
            if not is_fine:
                continue
            # `build_drafts` says why a plan without a draft is rejected.
            with suppress(Rejected):
                place = object_place(item.object_pose, item.plan.log_time_ns, self._rules)
                drafts[index] = build_draft(
                    motion, item, item.execution, place, source, self._arm, self._rules,
                    checked=True,
                )  # fmt: skip
        return drafts

    def _simple(self, item: Candidate) -> Motion | None:
        """The only segment of a plan, if it can be checked together with others."""
        plan = item.plan
        # Measured joints have rules of their own, and turns are removed by `build_drafts`.
        if len(plan.segments) != 1 or plan.measured or self._arm.continuous.any():
            return None
        segment = plan.segments[0]
        names = segment.joint_names
        if names not in self._columns:
            self._columns[names] = find_joints(names, self._arm.joints, self._rules.joint_prefix)[0]
        columns = self._columns[names]
        if is_too_short(segment.t, self._rules) or segment.multi_dof:
            return None
        if segment.joint_vel is None or columns is None:
            return None
        position, velocity = segment.joint_pos, segment.joint_vel
        if columns != list(range(position.shape[1])):
            position, velocity = position[:, columns], velocity[:, columns]
        return Motion(segment.t, position, velocity, 0, names)

    def _fine(self, motions: Sequence[Motion]) -> NDArray[np.bool_]:
        """Which motions are finite, rise in time, fit their velocities and keep all rules. (E,)."""
        lengths = np.array([len(motion.t) for motion in motions])
        starts = np.cumsum(lengths) - lengths
        t = np.concatenate([motion.t for motion in motions])
        position = np.concatenate([motion.joint_pos for motion in motions])
        velocity = np.concatenate([motion.velocity for motion in motions])
        row_fine = np.isfinite(t) & np.isfinite(position).all(1) & np.isfinite(velocity).all(1)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            misses = velocity_misses(t, position, velocity)
            follows = (np.diff(t) > SAME_S) & (misses <= self._rules.velocity_tolerance_rad_s)
            extent = measure_extent(position, starts, self._arm.lower, self._arm.upper)
            broken = np.any(list(extent.broken(self._rules).values()), axis=0)
        follows[starts[1:] - 1] = True  # from one plan to the next
        row_fine[1:] &= follows
        fine: NDArray[np.bool_] = np.logical_and.reduceat(row_fine, starts) & ~broken
        return fine
