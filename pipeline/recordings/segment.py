"""Segments a stream of measured or tracked joints into motions. Pure.

Where no plans were recorded, a motion begins and ends at marks, at a new goal of the controller, or
where the stream pauses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import (
    Candidate,
    Execution,
    JointSample,
    Mark,
    Message,
    ObjectPose,
    Obstacles,
    Plan,
    Segment,
    TrackingSample,
    Unreadable,
)
from pipeline.recordings.sample_times import sample_times

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SegmentRules:
    """Where a motion begins and ends."""

    gap_s: float
    """A longer pause between two samples ends a motion, s."""
    onset_rad: float
    """The arm moves as soon as a joint is this far from where the motion's samples began, rad."""
    marked: bool = False
    """Whether the recording holds marks. If the first is a start, nothing before it is a motion."""


def segment_motions(
    messages: Iterable[Message], joints: tuple[str, ...], prefix: str | None, rules: SegmentRules
) -> Iterator[Candidate | Unreadable]:
    """Motions of the arm with the object's pose and the obstacles, each yielded when it ends.

    The object's pose and the obstacles are the latest before the arm begins to move. Samples that
    do not name all the arm's joints, such as a gripper's, are skipped. There is no motion between
    the mark of an end and that of the next start, nor before a first mark that is a start.

    Args:
        messages: joint states, or a controller's feedback or state, with marks, object poses and
            obstacles, in order of log time.
        joints: the arm's joints.
        prefix: the text before their names; None finds it.
        rules: where a motion begins and ends.
    """
    segmenter = _Segmenter(joints, prefix, rules)
    before_marks: list[Candidate] | None = [] if rules.marked else None
    for message in messages:
        ended: Iterable[Candidate] = ()
        match message:
            case ObjectPose():
                segmenter.update_pose(message)
            case Obstacles():
                segmenter.update_obstacles(message)
            case Mark():
                ended = segmenter.finish()
                if before_marks is not None:
                    ended = () if message.kind == "start" else [*before_marks, *ended]
                    before_marks = None
                segmenter.outside = message.kind == "end"
            case JointSample() | TrackingSample():
                ended = segmenter.add(message)
            case Unreadable():
                yield message
        if before_marks is None:
            yield from ended
        else:
            before_marks += ended
    yield from before_marks or ()
    yield from segmenter.finish()
    yield from segmenter.unmatched_topics()


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
    """Position and velocity that a controller wants; None for joint states."""


@dataclass
class _Run:
    """The samples of a motion that has not ended."""

    pose: ObjectPose | None
    obstacles: Obstacles | None
    samples: list[_Sample] = field(default_factory=list)
    moving: bool = False
    """Whether the arm has begun to move."""


class _Segmenter:
    """The motions that have not ended, one for each topic."""

    def __init__(self, joints: tuple[str, ...], prefix: str | None, rules: SegmentRules) -> None:
        self.outside = False
        self._joints, self._prefix, self._rules = joints, prefix, rules
        self._pose: ObjectPose | None = None
        self._obstacles: Obstacles | None = None
        self._places: dict[tuple[str, ...], list[int] | None] = {}
        self._unmatched: dict[str, str] = {}
        self._runs: dict[str, _Run] = {}
        self._unstamped: set[str] = set()

    def update_pose(self, pose: ObjectPose) -> None:
        """Remember where the object lies; arms that have not moved yet move towards it."""
        self._pose = pose
        for run in self._runs.values():
            if not run.moving:
                run.pose = pose

    def update_obstacles(self, obstacles: Obstacles) -> None:
        """Remember the obstacles; arms that have not moved yet move among them."""
        self._obstacles = obstacles
        for run in self._runs.values():
            if not run.moving:
                run.obstacles = obstacles

    def add(self, message: JointSample | TrackingSample) -> Iterator[Candidate]:
        """Add a sample; yield the motion that it ends, if any."""
        names = message.joint_names
        if names not in self._places:
            self._places[names], why = find_joints(names, self._joints, self._prefix)
            if why:
                value = f"{message.topic} names {', '.join(names) or 'no joints'}: {why}"
                self._unmatched.setdefault(message.topic, value)
        places = self._places[names]
        if places is None or self.outside:
            return
        topic, sample = message.topic, _reduce(message, places)
        run = self._runs.get(topic)
        if run is None:
            run = self._runs[topic] = _Run(self._pose, self._obstacles)
        elif (
            self._pause_s(topic, run.samples[-1], sample) > self._rules.gap_s
            or sample.goal != run.samples[-1].goal
        ):
            yield _candidate(topic, run)
            run = self._runs[topic] = _Run(self._pose, self._obstacles)
        run.samples.append(sample)
        reach = np.abs(sample.position - run.samples[0].position).max(initial=0.0)
        run.moving = run.moving or bool(reach > self._rules.onset_rad)

    def _pause_s(self, topic: str, last: _Sample, sample: _Sample) -> float:
        """Time between two samples, s: by their stamps while the topic's stamps rise."""
        stamps_s = (sample.stamp_ns - last.stamp_ns) * 1e-9
        if min(last.stamp_ns, sample.stamp_ns) <= 0 or stamps_s < 0:
            self._unstamped.add(topic)
        if topic in self._unstamped or stamps_s == 0:
            return (sample.log_time_ns - last.log_time_ns) * 1e-9
        return stamps_s

    def finish(self) -> list[Candidate]:
        """End every motion."""
        ended = [_candidate(topic, run) for topic, run in self._runs.items()]
        self._runs = {}
        return ended

    def unmatched_topics(self) -> Iterator[Unreadable]:
        """Each topic and its joints, if no message named all of the arm's joints."""
        if any(places is not None for places in self._places.values()):
            return
        for topic, value in self._unmatched.items():
            yield Unreadable(topic, None, "JOINT_MISSING", value)


def _reduce(message: JointSample | TrackingSample, places: list[int]) -> _Sample:
    """A message without the joints of other devices."""

    def arm(values: Array | None) -> Array | None:
        return None if values is None else np.asarray(values, np.float64)[places]

    names = tuple(message.joint_names[place] for place in places)
    if isinstance(message, JointSample):
        return _Sample(
            message.message, message.log_time_ns, message.stamp_ns, "", names,
            np.asarray(message.joint_pos, np.float64)[places], arm(message.joint_vel), None,
        )  # fmt: skip
    return _Sample(
        message.message, message.log_time_ns, message.stamp_ns, message.goal, names,
        np.asarray(message.actual_pos, np.float64)[places], arm(message.actual_vel),
        (np.asarray(message.desired_pos, np.float64)[places], arm(message.desired_vel)),
    )  # fmt: skip


def _candidate(topic: str, run: _Run) -> Candidate:
    """The motion of a run of samples; its times start at 0."""
    pose, obstacles = run.pose, run.obstacles
    times = sample_times(
        [sample.stamp_ns for sample in run.samples],
        [sample.log_time_ns for sample in run.samples],
    )
    derived = () if times.stamped else ("times from the log",)
    samples = [run.samples[index] for index in times.kept]
    t = (times.times_ns - times.times_ns[0]) * 1e-9
    position = np.stack([sample.position for sample in samples])
    velocity = _rows([sample.velocity for sample in samples])
    first = samples[0]
    wanted = [sample.desired for sample in samples if sample.desired is not None]
    if len(wanted) < len(samples):
        segment = Segment(first.names, t, position, velocity)
        plan = Plan(topic, first.message, first.log_time_ns, (segment,), True, sampled=True)
        derived = (*derived, "command from measured joints")
        return Candidate(plan, pose, None, derived, obstacles=obstacles)
    desired = np.stack([place for place, _ in wanted])
    segment = Segment(first.names, t, desired, _rows([speed for _, speed in wanted]))
    plan = Plan(topic, first.message, first.log_time_ns, (segment,), sampled=True)
    speed = np.full_like(position, np.nan) if velocity is None else velocity
    execution = Execution(t, position, speed, position[-1])
    return Candidate(plan, pose, execution, derived, obstacles=obstacles)


def _rows(rows: Sequence[Array | None]) -> Array | None:
    """The rows as one array; None if one of them is missing."""
    given = [row for row in rows if row is not None]
    return np.stack(given) if len(given) == len(rows) else None
