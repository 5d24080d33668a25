"""Cuts a stream of measured or tracked joints into motions. Pure.

Where nobody recorded plans an episode begins and ends at marks, at a new goal of the controller,
or where the stream pauses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import (
    Candidate,
    Event,
    Execution,
    JointSample,
    Mark,
    ObjectPose,
    Plan,
    Segment,
    TrackingSample,
    Unreadable,
)

Array = NDArray[np.float64]


def cut(
    events: Iterable[Event], joints: tuple[str, ...], prefix: str | None, gap_s: float
) -> Iterator[Candidate | Unreadable]:
    """Motions of the arm with the object's pose, each passed on when it ends.

    Samples that do not name all the arm's joints, such as a gripper's, are passed over. Between the
    mark of an end and that of the next start there is no motion.

    Args:
        events: joint states, or a controller's feedback or state, with marks and object poses, in
            order of log time.
        joints: the arm's joints.
        prefix: what stands before their names; None finds it.
        gap_s: a longer pause ends a motion, s.
    """
    cutter = _Cutter(joints, prefix, gap_s)
    for event in events:
        match event:
            case ObjectPose():
                cutter.pose = event
            case Mark():
                yield from cutter.finish()
                cutter.outside = event.kind == "end"
            case JointSample() | TrackingSample():
                yield from cutter.add(event)
            case Unreadable():
                yield event
    yield from cutter.finish()
    yield from cutter.strangers()


@dataclass(frozen=True)
class _Sample:
    """One message, reduced to the arm's joints in their order."""

    message: int
    log_time_ns: int
    stamp_ns: int
    goal: str
    names: tuple[str, ...]
    position: Array
    velocity: Array | None
    desired: tuple[Array, Array | None] | None
    """Position and velocity that a controller wants; None where nobody said."""


class _Cutter:
    """Motions that are still going on, one a topic."""

    def __init__(self, joints: tuple[str, ...], prefix: str | None, gap_s: float) -> None:
        self.pose: ObjectPose | None = None
        self.outside = False
        self._joints, self._prefix, self._gap_s = joints, prefix, gap_s
        self._places: dict[tuple[str, ...], list[int] | None] = {}
        self._strange: dict[str, str] = {}
        self._runs: dict[str, list[_Sample]] = {}
        self._poses: dict[str, ObjectPose | None] = {}

    def add(self, event: JointSample | TrackingSample) -> Iterator[Candidate]:
        """Take a sample in; gives the motion that it ends, if any."""
        names = event.joint_names
        if names not in self._places:
            self._places[names], why = find_joints(names, self._joints, self._prefix)
            if why:
                value = f"{event.topic} names {', '.join(names) or 'nobody'}: {why}"
                self._strange.setdefault(event.topic, value)
        places = self._places[names]
        if places is None or self.outside:
            return
        sample = _reduce(event, places)
        run = self._runs.setdefault(event.topic, [])
        if run and (
            (sample.log_time_ns - run[-1].log_time_ns) * 1e-9 > self._gap_s
            or sample.goal != run[-1].goal
        ):
            yield _candidate(event.topic, run, self._poses[event.topic])
            run = self._runs[event.topic] = []
        if not run:
            self._poses[event.topic] = self.pose
        run.append(sample)

    def finish(self) -> Iterator[Candidate]:
        """End every motion."""
        for topic, run in self._runs.items():
            if run:
                yield _candidate(topic, run, self._poses[topic])
        self._runs = {}

    def strangers(self) -> Iterator[Unreadable]:
        """Topics to blame where no message named all of the arm's joints."""
        if any(places is not None for places in self._places.values()):
            return
        for topic, value in self._strange.items():
            yield Unreadable(topic, None, "JOINT_MISSING", value)


def _reduce(event: JointSample | TrackingSample, places: list[int]) -> _Sample:
    def arm(values: Array | None) -> Array | None:
        return None if values is None else np.asarray(values, np.float64)[places]

    names = tuple(event.joint_names[place] for place in places)
    if isinstance(event, JointSample):
        return _Sample(
            event.message, event.log_time_ns, event.stamp_ns, "", names,
            np.asarray(event.joint_pos, np.float64)[places], arm(event.joint_vel), None,
        )  # fmt: skip
    return _Sample(
        event.message, event.log_time_ns, event.stamp_ns, event.goal, names,
        np.asarray(event.actual_pos, np.float64)[places], arm(event.actual_vel),
        (np.asarray(event.desired_pos, np.float64)[places], arm(event.desired_vel)),
    )  # fmt: skip


def _candidate(topic: str, run: Sequence[_Sample], pose: ObjectPose | None) -> Candidate:
    """A run of samples as the motion that it is; its times start at 0."""
    times_ns, derived = _times(run)
    # A sample that came twice says nothing new.
    keep = np.concatenate([[True], np.diff(times_ns) > 0])
    samples = [sample for sample, fresh in zip(run, keep, strict=True) if fresh]
    t = (times_ns[keep] - times_ns[0]) * 1e-9
    position = np.stack([sample.position for sample in samples])
    velocity = _rows([sample.velocity for sample in samples])
    first = samples[0]
    wanted = [sample.desired for sample in samples if sample.desired is not None]
    if len(wanted) < len(samples):
        segment = Segment(first.names, t, position, velocity)
        plan = Plan(topic, first.message, first.log_time_ns, (segment,), True, sampled=True)
        return Candidate(plan, pose, None, (*derived, "command from measured joints"))
    desired = np.stack([place for place, _ in wanted])
    segment = Segment(first.names, t, desired, _rows([speed for _, speed in wanted]))
    plan = Plan(topic, first.message, first.log_time_ns, (segment,), sampled=True)
    speed = np.full_like(position, np.nan) if velocity is None else velocity
    return Candidate(plan, pose, Execution(t, position, speed, position[-1]), derived)


def _rows(rows: Sequence[Array | None]) -> Array | None:
    given = [row for row in rows if row is not None]
    return np.stack(given) if len(given) == len(rows) else None


def _times(run: Sequence[_Sample]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Times of samples, ns: those of the publisher where it gave rising ones, else of the log."""
    stamps = np.array([sample.stamp_ns for sample in run], np.int64)
    if stamps.min() > 0 and np.all(np.diff(stamps) >= 0) and stamps[-1] > stamps[0]:
        return stamps, ()
    log = np.array([sample.log_time_ns for sample in run], np.int64)
    return np.maximum.accumulate(log), ("times from the log",)
