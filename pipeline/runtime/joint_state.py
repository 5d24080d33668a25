"""From robot messages to observations and back, whatever middleware carries them.

A joint state comes by name in any order with other joints among it; the object's pose may be old,
in another frame, or not there yet. Plain numbers in and out, so that a ROS 2 node is a thin shell
around it (examples/ros2). Knows nothing of ROS and of networks.
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
class Limits:
    """When messages are too old to act on, s."""

    joints_s: float
    pose_s: float
    apart_s: float
    """A stamp may lie this much in the future: clocks of two machines differ."""


class Observer:
    """Keeps the last joint state and object pose, and says what the policy sees now.

    Example:
        observer = Observer(joints, "base_link", Limits(0.1, 0.5, 0.05))
        observer.joints(stamp_s, names, positions)
        observer.pose(stamp_s, "base_link", position, quaternion)
        policy.act(observer.observation(now_s))
    """

    def __init__(self, joints: Sequence[str], frame: str, limits: Limits) -> None:
        """Begin with nothing seen.

        Args:
            joints: in the policy's order.
            frame: of the robot's base; the pose must be given in it.
            limits: when messages are too old.
        """
        self._names, self._frame, self._limits = tuple(joints), frame, limits
        self._joints: tuple[float, Array] | None = None
        self._pose: tuple[float, Array, Array] | None = None

    def joints(self, stamp_s: float, names: Sequence[str], positions: Sequence[float]) -> None:
        """Take a joint state.

        Args:
            stamp_s: of its header, s.
            names: of its joints, in any order, others among them.
            positions: rad.

        Raises:
            MessageError: a joint is missing or stands there twice, lengths differ, or a number is
                not finite. What was seen before stands.
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
        """Take the object's pose; its axis is the pose's z.

        Args:
            stamp_s: of its header, s.
            frame: of its header.
            position: m.
            quaternion: x, y, z, w; of any length but zero.

        Raises:
            MessageError: another frame, no rotation, or a number is not finite.
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
        """What the policy sees, by the kinds of the layout's fields.

        Args:
            now_s: by the clock of the stamps, s.

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
            if age_s < -self._limits.apart_s:
                raise MessageError(f"the last {name} is stamped {-age_s:.3f} s in the future")
        return {"joint_pos": joint_pos, "object_pos": position, "object_axis": axis}


@dataclass(frozen=True)
class Command:
    """One point of a joint trajectory."""

    names: tuple[str, ...]
    positions: tuple[float, ...]
    """rad."""
    reach_in_s: float
    """From when it is received."""


def command(joints: Sequence[str], positions: Array, control_hz: float) -> Command:
    """The message that sends the arm to the next joint positions within one control period.

    The stamp is left zero, which a trajectory controller reads as "now": a stamp of this machine's
    clock would be refused where the controller's clock is ahead.

    Args:
        joints: in the policy's order.
        positions: rad.
        control_hz: how often commands are sent.

    Raises:
        MessageError: a number is not finite, or there are not as many as joints.
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
