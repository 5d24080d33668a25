"""Adds to each plan the object, the obstacles and the joints measured while it ran. Pure.

Reads a stream of messages once, in order of log time, and remembers no more than one plan's worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import (
    Candidate,
    Execution,
    JointSample,
    Message,
    ObjectPose,
    Obstacles,
    Plan,
    Unreadable,
)
from pipeline.recordings.sample_times import sample_times

Array = NDArray[np.float64]


def synchronize(
    messages: Iterable[Message], joints: tuple[str, ...], settle_s: float, prefix: str | None = None
) -> Iterator[Candidate | Unreadable]:
    """Plans with their context, each yielded when the next plan comes or the recording ends.

    The object's pose and the obstacles are the latest at or before the plan's log time. The
    execution is every joint state that names all the arm's joints, from the plan's log time to
    `settle_s` after its end, or to the next plan; the last one before the next plan is kept too.
    Joint states are timed by their stamps if these rise: the one with the least latency ties the
    stamps to the log's clock.

    Args:
        messages: what was recorded, in order of log time.
        joints: the arm's joints.
        settle_s: time after a plan's end that belongs to its execution, s.
        prefix: the text before the joints' names; None finds it.
    """
    pose: ObjectPose | None = None
    obstacles: Obstacles | None = None
    pending: _Pending | None = None
    for message in messages:
        match message:
            case Plan():
                if pending is not None:
                    yield pending.finish()
                candidate = Candidate(message, pose, None, obstacles=obstacles)
                pending = _Pending(candidate, (joints, prefix), settle_s)
            case ObjectPose():
                pose = message
                # A pose of the plan's own instant may come after it in the file.
                if pending is not None and message.log_time_ns <= pending.plan.log_time_ns:
                    pending.candidate = replace(pending.candidate, object_pose=message)
            case Obstacles():
                obstacles = message
                if pending is not None and message.log_time_ns <= pending.plan.log_time_ns:
                    pending.candidate = replace(pending.candidate, obstacles=message)
            case JointSample():
                if pending is not None:
                    pending.add(message)
            case Unreadable():
                yield message
    if pending is not None:
        yield pending.finish()


@dataclass(frozen=True)
class _Sample:
    """A joint state, reduced to the arm's joints in their order."""

    log_time_ns: int
    stamp_ns: int
    position: Array
    velocity: Array


class _Pending:
    """A plan whose execution is still being read."""

    def __init__(
        self, candidate: Candidate, joints: tuple[tuple[str, ...], str | None], settle_s: float
    ) -> None:
        self.candidate, self.plan = candidate, candidate.plan
        self._joints = joints
        duration_s = sum(float(part.t[-1]) for part in self.plan.segments if len(part.t))
        self._until_s = duration_s + settle_s
        self._samples: list[_Sample] = []
        self._final: Array | None = None
        self._columns: dict[tuple[str, ...], list[int] | None] = {}

    def add(self, state: JointSample) -> None:
        """Keep a joint state if it belongs to the execution."""
        names = state.joint_names
        if names not in self._columns:
            self._columns[names] = find_joints(names, *self._joints)[0]
        columns = self._columns[names]
        if columns is None:  # for instance the gripper's own joint states
            return
        self._final = position = state.joint_pos[columns]
        if (state.log_time_ns - self.plan.log_time_ns) * 1e-9 > self._until_s:
            return
        velocity = state.joint_vel
        velocity = np.full(len(columns), np.nan) if velocity is None else velocity[columns]
        self._samples.append(_Sample(state.log_time_ns, state.stamp_ns, position, velocity))

    def finish(self) -> Candidate:
        """The plan with its context."""
        execution = None
        if self._samples and self._final is not None:
            stamps_ns = np.array([sample.stamp_ns for sample in self._samples], np.int64)
            log_ns = np.array([sample.log_time_ns for sample in self._samples], np.int64)
            times = sample_times(stamps_ns, log_ns)
            latency_ns = int((log_ns - stamps_ns).min()) if times.stamped else 0
            since_plan_ns = times.times_ns + (latency_ns - self.plan.log_time_ns)
            samples = [self._samples[index] for index in times.kept]
            execution = Execution(
                np.asarray(since_plan_ns * 1e-9, np.float64),
                np.stack([sample.position for sample in samples]),
                np.stack([sample.velocity for sample in samples]),
                self._final,
            )
        return replace(self.candidate, execution=execution)
