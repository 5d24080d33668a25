"""A policy behind ROS 2 messages: joint states, object and obstacles in, commands out.

Whoever receives and sends the messages (rclpy, or DDS) only passes them on: messages are read by
the names of their fields, which are the same in every library.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.obstacles import COLUMNS
from pipeline.recordings.pose import IDENTITY, Pose
from pipeline.recordings.scene import Scene
from pipeline.recordings.scene_messages import parse_planning_scene
from pipeline.ros2.settings import NodeSettings
from pipeline.runtime.joint_state import AgeLimits, Command, MessageError, Observer, command
from pipeline.runtime.session import RobotPolicy


class Controller:
    """Keeps the newest messages, and asks the policy for the next command."""

    def __init__(self, policy: RobotPolicy, settings: NodeSettings) -> None:
        """Start without any message.

        Args:
            policy: what decides.
            settings: frames and ages. With a topic of the planning scene there is no command before
                the whole scene has come.
        """
        limits = AgeLimits(
            settings.joints_max_age_s, settings.pose_max_age_s, settings.max_clock_lead_s
        )
        self._policy, self._base = policy, settings.base_frame
        self._names = policy.layout.joints
        self._observer = Observer(
            self._names, self._base, limits, needs_obstacles=bool(settings.planning_scene)
        )
        self._scene = Scene([settings.ignored_object])
        self._has_scene = False
        self._running = False

    @property
    def control_hz(self) -> float:
        """How often to call `step`, 1/s."""
        return self._policy.control_hz

    def on_joints(self, message: Any) -> None:
        """Take a sensor_msgs/msg/JointState.

        Args:
            message: any object with its fields.

        Raises:
            MessageError: it cannot be used; the last good one stays in use until it is too old.
        """
        self._observer.joints(_stamp_s(message), list(message.name), list(message.position))

    def on_pose(self, message: Any) -> None:
        """Take a geometry_msgs/msg/PoseStamped of the object.

        Args:
            message: any object with its fields.

        Raises:
            MessageError: it cannot be used; the last good one stays in use until it is too old.
        """
        p, q = message.pose.position, message.pose.orientation
        self._observer.pose(
            _stamp_s(message), message.header.frame_id, [p.x, p.y, p.z], [q.x, q.y, q.z, q.w]
        )

    def on_scene(self, message: Any) -> None:
        """Take a moveit_msgs/msg/PlanningScene, the whole one or a change of it.

        Args:
            message: any object with its fields.

        Raises:
            MessageError: a change came before the whole scene. It is not used, because objects from
                before it would be missing.
        """
        try:
            change = parse_planning_scene("", 0, 0, message)
        except ValueError as error:
            # What it changed is not known until the whole scene comes.
            self._has_scene = False
            self._observer.obstacles(np.zeros((0, COLUMNS)), [str(error)])
            return
        if not (change.whole or self._has_scene):
            raise MessageError("a change of the planning scene came before the whole scene")
        self._has_scene = True
        found = self._scene.apply(change, self._locate)
        unknown = (*found.unresolved, *found.invalid, *found.unsupported)
        self._observer.obstacles(found.rows, unknown)

    def _locate(self, frame: str) -> Pose | None:
        return IDENTITY if frame.lstrip("/") == self._base else None

    def step(self, now_s: float) -> Command:
        """Ask the policy for the next command; after any error it starts anew.

        Args:
            now_s: current time on the clock of the stamps, s.

        Raises:
            PipelineError: there is none, and nothing may be sent; the message says why.
        """
        try:
            seen = self._observer.observation(now_s)
            if not self._running:
                self._policy.reset()
            made = command(self._names, self._policy.act(seen), self._policy.control_hz)
        except PipelineError:
            self._running = False
            raise
        self._running = True
        return made


def seconds_and_nanoseconds(time_s: float) -> tuple[int, int]:
    """The two fields of a builtin_interfaces/msg/Duration.

    Args:
        time_s: s.
    """
    return divmod(round(time_s * 1e9), 10**9)


def _stamp_s(message: Any) -> float:
    stamp = message.header.stamp
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9
