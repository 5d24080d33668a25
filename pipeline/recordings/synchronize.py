"""Brings together what belongs to one plan: the object's pose, the joints while it ran. Pure.

Reads a stream of events once, in order of log time, and remembers no more than one plan's worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import (
    Candidate,
    Execution,
    JointSample,
    Message,
    ObjectPose,
    Plan,
    Unreadable,
)

Array = NDArray[np.float64]


def collate(
    events: Iterable[Message], joints: tuple[str, ...], settle_s: float, prefix: str | None = None
) -> Iterator[Candidate | Unreadable]:
    """Plans with their context, each passed on when the next plan comes or the recording ends.

    The object's pose is the latest at or before the plan's log time. The execution is every joint
    state that names all the arm's joints, from the plan's log time to `settle_s` after its end, or
    to the next plan; the last one before the next plan is kept too.

    Args:
        events: what the recording says, in order of log time.
        joints: the arm's joints.
        settle_s: time after a plan's end that belongs to its execution, s.
        prefix: what stands before the joints' names; None finds it.
    """
    pose: ObjectPose | None = None
    pending: _Pending | None = None
    for event in events:
        match event:
            case Plan():
                if pending is not None:
                    yield pending.finish()
                pending = _Pending(event, pose, (joints, prefix), settle_s)
            case ObjectPose():
                pose = event
                # A pose of the plan's own instant may stand after it in the file.
                if pending is not None and event.log_time_ns <= pending.plan.log_time_ns:
                    pending.object_pose = event
            case JointSample():
                if pending is not None:
                    pending.add(event)
            case Unreadable():
                yield event
    if pending is not None:
        yield pending.finish()


class _Pending:
    """A plan whose execution is still being read."""

    def __init__(
        self,
        plan: Plan,
        pose: ObjectPose | None,
        joints: tuple[tuple[str, ...], str | None],
        settle_s: float,
    ) -> None:
        self.plan = plan
        self.object_pose = pose
        self._joints = joints
        duration = sum(float(part.t[-1]) for part in plan.segments if len(part.t))
        self._until_s = duration + settle_s
        self._times: list[float] = []
        self._positions: list[Array] = []
        self._velocities: list[Array] = []
        self._final: Array | None = None
        self._columns: dict[tuple[str, ...], list[int] | None] = {}

    def add(self, sample: JointSample) -> None:
        """Keep a joint state if it belongs to the execution."""
        names = sample.joint_names
        if names not in self._columns:
            self._columns[names] = find_joints(names, *self._joints)[0]
        columns = self._columns[names]
        if columns is None:  # the gripper's own joint states, for instance
            return
        position = sample.joint_pos[columns]
        self._final = position
        seconds = (sample.log_time_ns - self.plan.log_time_ns) * 1e-9
        if seconds > self._until_s or (self._times and seconds <= self._times[-1]):
            return
        self._times.append(seconds)
        self._positions.append(position)
        nothing = np.full(len(columns), np.nan)
        self._velocities.append(nothing if sample.joint_vel is None else sample.joint_vel[columns])

    def finish(self) -> Candidate:
        """The plan with what was read since."""
        execution = None
        if self._times and self._final is not None:
            execution = Execution(
                np.array(self._times),
                np.stack(self._positions),
                np.stack(self._velocities),
                self._final,
            )
        return Candidate(self.plan, self.object_pose, execution)
