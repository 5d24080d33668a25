"""Judges many recorded plans at once. Pure.

Most plans break no rule: those are found by one pass over the numbers of all, and are taken as they
are. Every other goes through `assemble` alone, so the rules and what is said stand there only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode
from pipeline.kinematics import continue_paths
from pipeline.params import IngestParams
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import Candidate, Segment, Source
from pipeline.validation.build_episode import (
    Arm,
    Draft,
    Verdict,
    assemble,
    object_place,
    origin,
    reserves,
    warnings,
)
from pipeline.validation.execution import check_execution
from pipeline.validation.rules import SAME_S, Motion, Rejected

Array = NDArray[np.float64]

BATCH_POINTS = 4096
"""Points that are judged at once: enough that calls cost nothing, few enough for the cache."""
_FK_DERIVED = ("pose by FK",)


def judge(
    candidates: Iterable[Candidate | Verdict], source: Source, arm: Arm, rules: IngestParams
) -> Iterator[list[Verdict]]:
    """Verdicts on every trajectory, in the order of the candidates, batch by batch.

    Args:
        candidates: plans with their context; verdicts among them are passed on in their place.
        source: the recording that they come from.
        arm: joints, limits, forward kinematics.
        rules: section `ingest` of params.yaml.
    """
    waiting: list[Candidate | Verdict] = []
    points = 0
    for item in candidates:
        waiting.append(item)
        points += 1
        if isinstance(item, Candidate):
            points += sum(len(segment.t) for segment in item.plan.segments)
        if points >= BATCH_POINTS:
            yield judge_batch(waiting, source, arm, rules)
            waiting, points = [], 0
    if waiting:
        yield judge_batch(waiting, source, arm, rules)


def judge_batch(
    items: Sequence[Candidate | Verdict], source: Source, arm: Arm, rules: IngestParams
) -> list[Verdict]:
    """Verdicts on one batch, in its order.

    Args:
        items: plans with their context; verdicts among them are passed on in their place.
        source: the recording that they come from.
        arm: joints, limits, forward kinematics.
        rules: section `ingest` of params.yaml.
    """
    taken = _Screen(arm, rules).clean(items, source)
    drafts: list[Draft | Verdict] = []
    for index, item in enumerate(items):
        if index in taken:
            drafts.append(taken[index])
        elif isinstance(item, Verdict):
            drafts.append(item)
        else:
            drafts += assemble(item, source, arm, rules)
    return finish(drafts, arm)


def finish(drafts: Sequence[Draft | Verdict], arm: Arm) -> list[Verdict]:
    """Verdicts whose episodes have the TCP's poses.

    Args:
        drafts: of episodes; verdicts among them are passed on in their place.
        arm: forward kinematics.
    """
    own = [draft for draft in drafts if isinstance(draft, Draft)]
    if not own:
        return [item for item in drafts if isinstance(item, Verdict)]
    lengths = np.array([len(draft.t) for draft in own])
    poses = arm.fk(np.concatenate([draft.joint_pos for draft in own]))
    poses[:, 3:] = continue_paths(poses[:, 3:], np.cumsum(lengths) - lengths)
    paths = iter(np.split(poses, np.cumsum(lengths)[:-1]))
    return [
        item if isinstance(item, Verdict) else Verdict(_episode(item, next(paths)), item.findings)
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
    )


class _Screen:
    """Finds plans of one segment that break no rule."""

    def __init__(self, arm: Arm, rules: IngestParams) -> None:
        self._arm, self._rules = arm, rules
        self._columns: dict[tuple[str, ...], list[int] | None] = {}

    def clean(self, items: Sequence[Candidate | Verdict], source: Source) -> dict[int, Draft]:
        """Drafts of the clean ones by their index."""
        simple = [
            (index, item, segment)
            for index, item in enumerate(items)
            if isinstance(item, Candidate) and (segment := self._simple(item)) is not None
        ]
        if not simple:
            return {}
        segments = [segment for _, _, segment in simple]
        lengths = np.array([len(segment.t) for segment in segments])
        ends = np.cumsum(lengths)
        starts = ends - lengths
        t = np.concatenate([segment.t for segment in segments])
        position = np.concatenate([self._arm_columns(s, s.joint_pos) for s in segments])
        velocity = np.concatenate([self._arm_columns(s, s.joint_vel) for s in segments])
        fine = self._fine(t, position, velocity, starts)
        t -= np.repeat(t[starts], lengths)
        drafts = {}
        for (index, item, segment), is_fine, start, end in zip(
            simple, fine.tolist(), starts.tolist(), ends.tolist(), strict=True
        ):
            if is_fine:
                rows = slice(start, end)
                motion = Motion(t[rows], position[rows], velocity[rows], 0, segment.joint_names)
                draft = self._draft(item, motion, source)
                if draft is not None:
                    drafts[index] = draft
        return drafts

    def _simple(self, item: Candidate) -> Segment | None:
        """The only segment of a plan, where it can be judged together with others."""
        plan = item.plan
        if len(plan.segments) != 1 or plan.measured or plan.sampled:
            return None
        # Turns and measured states are the business of `assemble`.
        if self._rules.state == "measured" or self._arm.continuous.any():
            return None
        segment = plan.segments[0]
        names = segment.joint_names
        if names not in self._columns:
            self._columns[names] = find_joints(names, self._arm.joints, self._rules.joint_prefix)[0]
        short = len(segment.t) < max(2, self._rules.min_points)
        if short or segment.multi_dof or segment.joint_vel is None or self._columns[names] is None:
            return None
        return segment

    def _arm_columns(self, segment: Segment, values: Array | None) -> Array:
        columns = self._columns[segment.joint_names]
        if values is None or columns is None:  # `_simple` lets neither through
            return np.zeros((0, len(self._arm.joints)))
        return values if columns == list(range(values.shape[1])) else values[:, columns]

    def _fine(
        self, t: Array, position: Array, velocity: Array, starts: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which plans keep every rule of `motion.check_motion` and `mend_velocity`. Shape (E,)."""
        rules, arm = self._rules, self._arm
        finite = np.isfinite(t) & np.isfinite(position).all(1) & np.isfinite(velocity).all(1)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            beyond = np.maximum(arm.lower - position, position - arm.upper).max(1)
            step, rise = np.diff(position, axis=0), np.diff(t)
            miss = np.abs((velocity[1:] + velocity[:-1]) / 2 - step / rise[:, None]).max(1)
            good = (rise > SAME_S) & (np.abs(step).max(1) <= rules.wrap_jump_rad)
            good &= miss <= rules.velocity_tolerance_rad_s
            good[starts[1:] - 1] = True  # from one plan to the next
            span = (
                np.maximum.reduceat(position, starts) - np.minimum.reduceat(position, starts)
            ).max(1)
        row_fine = finite & (beyond <= rules.limit_tolerance_rad)
        row_fine[1:] &= good
        fine: NDArray[np.bool_] = np.logical_and.reduceat(row_fine, starts)
        fine &= span >= rules.min_motion_rad
        return fine

    def _draft(self, item: Candidate, motion: Motion, source: Source) -> Draft | None:
        plan = item.plan
        try:
            place = object_place(item.object_pose, plan.log_time_ns, self._rules)
            check_execution(motion, item.execution, self._rules)
        except Rejected:  # `assemble` says why
            return None
        return Draft(
            t=motion.t,
            joint_pos=motion.joint_pos,
            joint_vel=motion.velocity,
            joint_command=motion.joint_pos,
            place=place,
            provenance=origin(source, plan, 0, motion.joint_names, (*item.derived, *_FK_DERIVED)),
            findings=warnings(reserves(item, source), source, plan, 0),
        )
