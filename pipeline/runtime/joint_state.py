"""Turns robot messages into observations, and commands into messages, for any middleware.

A joint state may list its joints in any order and include other joints. The object's pose may be
old, in another frame, or missing. All values are plain numbers, so that a ROS 2 node only has to
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
    """A message cannot be used; the robot must not act on it."""


@dataclass(frozen=True)
class AgeLimits:
    """Maximum age of the messages that the robot acts on, s."""

    joints_s: float
    pose_s: float
    future_s: float
    """Maximum time by which a stamp may lie in the future, since two machines' clocks differ."""


class Observer:
    """Keeps the latest joint state and object pose and builds the current observation.

    Example:
        observer = Observer(joints, "base_link", AgeLimits(0.1, 0.5, 0.05))
        observer.joints(stamp_s, names, positions)
        observer.pose(stamp_s, "base_link", position, quaternion)
        policy.act(observer.observation(now_s))
    """

    def __init__(
        self, joints: Sequence[str], frame: str, limits: AgeLimits, needs_obstacles: bool = False
    ) -> None:
        """Start without any message.

        Args:
            joints: joint names in the policy's order.
            frame: name of the robot's base frame, in which the pose must be given.
            limits: maximum age of the messages.
            needs_obstacles: whether there is no observation before the obstacles are known.
        """
        self._names, self._frame, self._limits = tuple(joints), frame, limits
        self._joints: tuple[float, Array] | None = None
        self._pose: tuple[float, Array, Array] | None = None
        self._needs_obstacles = needs_obstacles
        self._obstacles: tuple[Array, tuple[str, ...]] | None = None

    def joints(self, stamp_s: float, names: Sequence[str], positions: Sequence[float]) -> None:
        """Store a joint state.

        Args:
            stamp_s: time stamp of the header, s.
            names: joint names in any order; other joints may be included.
            positions: joint positions, rad.

        Raises:
            MessageError: a joint is missing or named twice, the lengths differ, or a number is not
                finite. The previous message stays in use.
        """
        if len(names) != len(positions):
            raise MessageError(
                f"the joint state has {len(names)} names but {len(positions)} positions"
            )
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
        """Store the object's pose; the object's axis is the z axis of the pose.

        Args:
            stamp_s: time stamp of the header, s.
            frame: frame name of the header.
            position: centre of the object, m.
            quaternion: x, y, z, w, of any length except 0.

        Raises:
            MessageError: the frame is wrong, the quaternion is 0, or a number is not finite.
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

    def obstacles(self, rows: Array, unknown: Sequence[str] = ()) -> None:
        """Store the obstacles; they stay until the next call.

        Args:
            rows: see `pipeline.obstacles`, base frame. Shape (M, 12).
            unknown: obstacles whose place or shape cannot be told; while there are any, there is no
                observation.
        """
        self._obstacles = rows, tuple(unknown)

    def observation(self, now_s: float) -> dict[str, Array]:
        """Build the current observation, keyed by the kinds of the layout's fields, for `act`.

        Args:
            now_s: current time on the clock of the stamps, s.

        Raises:
            MessageError: no message has come yet, the last one is too old or from the future, or an
                obstacle is unknown.
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
                    f"the last {name} is {age_s:.3f} s old; at most {limit_s:g} s are allowed"
                )
            if age_s < -self._limits.future_s:
                raise MessageError(f"the last {name} is stamped {-age_s:.3f} s in the future")
        seen = {"joint_pos": joint_pos, "object_pos": position, "object_axis": axis}
        if self._obstacles is None:
            if self._needs_obstacles:
                raise MessageError("no planning scene has come yet")
            return seen
        rows, unknown = self._obstacles
        if unknown:
            raise MessageError(f"obstacles are not known: {', '.join(unknown)}")
        return {**seen, "obstacles": rows}


@dataclass(frozen=True)
class Command:
    """One point of a joint trajectory."""

    names: tuple[str, ...]
    positions: tuple[float, ...]
    """rad."""
    reach_in_s: float
    """Time in which to reach the positions after the message is received, s."""


def command(joints: Sequence[str], positions: Array, control_hz: float) -> Command:
    """Build the message that moves the arm to the next joint positions within one control period.

    Its stamp should stay 0, which a trajectory controller reads as "now". The controller would
    reject a stamp of this machine's clock if its own clock were ahead.

    Args:
        joints: joint names in the policy's order.
        positions: joint positions, rad.
        control_hz: commands per second.

    Raises:
        MessageError: a number is not finite, or there is not one number for each joint.
    """
    checked = _finite(positions, "the command")
    if checked.shape != (len(joints),):
        raise MessageError(f"a command of shape {checked.shape} for {len(joints)} joints")
    return Command(tuple(joints), tuple(float(value) for value in checked), 1 / control_hz)


def _finite(values: Sequence[float] | Array, what: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise MessageError(f"{what}: a number is not finite: {array.tolist()}")
    return array
