"""Turns robot messages into observations, and commands into messages, for any middleware.

A joint state names its joints in any order, other joints among them; the object's pose may be old,
in another frame, or not there yet. All values are plain numbers, so that a ROS 2 node only has to
pass them on (examples/ros2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Array = NDArray[np.float64]


class MessageError(PipelineError):
    """A message cannot be used; the robot must not move on it."""


@dataclass(frozen=True)
class AgeLimits:
    """How old messages may be to act on them, s."""

    joints_s: float
    pose_s: float
    future_s: float
    """How far a stamp may lie in the future: the clocks of two machines differ."""


class Observer:
    """Keeps the last joint state and object pose, and gives the observation of now.

    Example:
        observer = Observer(joints, "base_link", AgeLimits(0.1, 0.5, 0.05))
        observer.joints(stamp_s, names, positions)
        observer.pose(stamp_s, "base_link", position, quaternion)
        policy.act(observer.observation(now_s))
    """

    def __init__(self, joints: Sequence[str], frame: str, limits: AgeLimits) -> None:
        """Start without any message.

        Args:
            joints: in the policy's order.
            frame: of the robot's base; the pose must be given in it.
            limits: how old messages may be.
        """
        self._names, self._frame, self._limits = tuple(joints), frame, limits
        self._joints: tuple[float, Array] | None = None
        self._pose: tuple[float, Array, Array] | None = None

    def joints(self, stamp_s: float, names: Sequence[str], positions: Sequence[float]) -> None:
        """Keep a joint state.

        Args:
            stamp_s: of its header, s.
            names: of its joints, in any order; others may be among them.
            positions: rad.

        Raises:
            MessageError: a joint is missing or named twice, lengths differ, or a number is not
                finite. The message before it stays in use.
        """
        if len(names) != len(positions):
            raise MessageError(f"{len(names)} joint names came with {len(positions)} positions")
        missing = [name for name in self._names if name not in names]
        if missing:
            raise MessageError(
                f"the joint state has no {', '.join(missing)}; it has {', '.join(names)}"
            )
        twice = [name for name in self._names if list(names).count(name) > 1]
        if twice:
            raise MessageError(f"the joint state names {', '.join(twice)} more than once")
        order = [list(names).index(name) for name in self._names]
        self._joints = stamp_s, _finite([positions[index] for index in order], "joint positions")

    def pose(
        self, stamp_s: float, frame: str, position: Sequence[float], quaternion: Sequence[float]
    ) -> None:
        """Keep the object's pose; the object's axis is the pose's z.

        Args:
            stamp_s: of its header, s.
            frame: of its header.
            position: m.
            quaternion: x, y, z, w, of any length but 0.

        Raises:
            MessageError: the frame is another one, the quaternion is 0, or a number is not finite.
        """
        if frame.lstrip("/") != self._frame:
            raise MessageError(
                f"the object's pose is given in {frame!r}, expected {self._frame!r}; transform it"
            )
        x, y, z, w = _finite(quaternion, "the object's quaternion")
        length = float(x * x + y * y + z * z + w * w)
        if length < 1e-6:
            raise MessageError("the object's quaternion is zero")
        # Third column of the quaternion's rotation matrix.
        axis = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z])
        self._pose = stamp_s, _finite(position, "the object's position"), axis / length

    def observation(self, now_s: float) -> dict[str, Array]:
        """The observation of now, by the kinds of the layout's fields.

        Args:
            now_s: the time by the clock of the stamps, s.

        Raises:
            MessageError: nothing has come yet, or the last message is too old or from the future.
        """
        if self._joints is None or self._pose is None:
            absent = "joint state" if self._joints is None else "object pose"
            raise MessageError(f"no {absent} has come yet")
        (joints_s, joint_pos), (pose_s, position, axis) = self._joints, self._pose
        for name, stamp_s, limit_s in (
            ("joint state", joints_s, self._limits.joints_s),
            ("object pose", pose_s, self._limits.pose_s),
        ):
            age_s = now_s - stamp_s
            if age_s > limit_s:
                raise MessageError(
                    f"the last {name} is {age_s:.3f} s old, {limit_s:g} s are allowed"
                )
            if age_s < -self._limits.future_s:
                raise MessageError(f"the last {name} is stamped {-age_s:.3f} s in the future")
        return {"joint_pos": joint_pos, "object_pos": position, "object_axis": axis}


@dataclass(frozen=True)
class Command:
    """One point of a joint trajectory."""

    names: tuple[str, ...]
    positions: tuple[float, ...]
    """rad."""
    reach_in_s: float
    """Time from when the message is received, s."""


def command(joints: Sequence[str], positions: Array, control_hz: float) -> Command:
    """The message that moves the arm to the next joint positions within one control period.

    Its stamp stays 0, which a trajectory controller reads as "now": it would refuse a stamp of this
    machine's clock if its own clock is ahead.

    Args:
        joints: in the policy's order.
        positions: rad.
        control_hz: how often commands are sent.

    Raises:
        MessageError: a number is not finite, or their count is not that of the joints.
    """
    checked = _finite(positions, "the command")
    if checked.shape != (len(joints),):
        raise MessageError(f"a command of shape {checked.shape} for {len(joints)} joints")
    return Command(tuple(joints), tuple(float(value) for value in checked), 1 / control_hz)


def _finite(values: Sequence[float] | Array, what: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise MessageError(f"{what} hold a number that is not finite: {array.tolist()}")
    return array
