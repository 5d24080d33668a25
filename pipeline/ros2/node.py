"""Runs a policy on DDS as the rclpy node in examples/ros2 does with ROS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pipeline.errors import PipelineError
from pipeline.recordings.rosbag.messages import (
    JOINT_STATE,
    JOINT_TRAJECTORY,
    PLANNING_SCENE,
    POSE_STAMPED,
    doubles,
    make_header,
    typestore,
)
from pipeline.ros2.controller import Controller, seconds_and_nanoseconds
from pipeline.ros2.network import SENSOR_DATA, Reach
from pipeline.ros2.participant import Participant
from pipeline.ros2.settings import NodeSettings
from pipeline.runtime.joint_state import Command, MessageError

_COMMANDS = Reach(reliable=True, transient_local=False)
# Changes of a planning scene build on each other, so none may be missed; as in MoveIt's own.
_SCENE, _SCENE_DEPTH = Reach(reliable=True, transient_local=False), 100
_SENSOR_DEPTH = 5
_MESSAGE_EVERY_S = 1.0


class Node:
    """A policy's subscriptions and its commands."""

    def __init__(
        self,
        participant: Participant,
        controller: Controller,
        settings: NodeSettings,
        tell: Callable[[str], None],
    ) -> None:
        """Subscribe and advertise.

        Args:
            participant: where.
            controller: what the messages go to.
            settings: topics.
            tell: receives what the user should know, at most once a second.

        Raises:
            DdsError: a topic cannot be used.
        """
        self._participant, self._controller, self._tell = participant, controller, tell
        self._told_s = -_MESSAGE_EVERY_S
        wanted = [
            (settings.joint_states, JOINT_STATE, SENSOR_DATA, _SENSOR_DEPTH, controller.on_joints),
            (settings.object_pose, POSE_STAMPED, SENSOR_DATA, _SENSOR_DEPTH, controller.on_pose),
        ]
        if settings.planning_scene:
            topic = settings.planning_scene
            wanted.append((topic, PLANNING_SCENE, _SCENE, _SCENE_DEPTH, controller.on_scene))
        self._inputs = [
            (participant.subscribe(topic, msgtype, typestore(), reach, depth), msgtype, handle)
            for topic, msgtype, reach, depth, handle in wanted
        ]
        self._commands = participant.advertise(
            settings.commands, JOINT_TRAJECTORY, typestore(), _COMMANDS, 1
        )
        self._sending = False

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Receive and send until stopped.

        Args:
            is_stopped: whether to end, asked at least once in each control period.
        """
        period_s = 1 / self._controller.control_hz
        due_s = time.monotonic() + period_s
        while not is_stopped():
            self._participant.wait(due_s - time.monotonic())
            self.receive()
            if time.monotonic() >= due_s:
                self.step(time.time())
                # A period that was missed is not made up for.
                due_s = max(due_s + period_s, time.monotonic())

    def receive(self) -> None:
        """Pass on the messages that have come."""
        for subscription, msgtype, handle in self._inputs:
            for sample in subscription.take():
                try:
                    handle(decode(sample.data, msgtype))
                except MessageError as error:
                    self._report(f"not used: {error}")

    def step(self, now_s: float) -> None:
        """Send the next command, or nothing where there is none.

        Args:
            now_s: current time, s.
        """
        try:
            self._commands.write(encode(self._controller.step(now_s)))
        except PipelineError as error:
            self._sending = False
            self._report(f"no command: {error}")
            return
        if not self._sending:
            self._sending = True
            self._tell("sending commands")

    def _report(self, text: str) -> None:
        if time.monotonic() >= self._told_s + _MESSAGE_EVERY_S:
            self._told_s = time.monotonic()
            self._tell(text)


def decode(data: bytes, msgtype: str) -> Any:
    """A message from its bytes.

    Args:
        data: CDR with its header.
        msgtype: its type.

    Raises:
        MessageError: the bytes are no such message.
    """
    try:
        return typestore().deserialize_cdr(data, msgtype)
    except Exception as error:  # bytes of a network may be wrong in any way
        raise MessageError(f"bytes that are no {msgtype} ({error})") from error


def encode(made: Command) -> bytes:
    """A command as trajectory_msgs/msg/JointTrajectory of one point, with a stamp of 0.

    Args:
        made: the command.
    """
    types = typestore().types
    none = doubles([])
    seconds, nanoseconds = seconds_and_nanoseconds(made.reach_in_s)
    point = types["trajectory_msgs/msg/JointTrajectoryPoint"](
        positions=doubles(made.positions), velocities=none, accelerations=none, effort=none,
        time_from_start=types["builtin_interfaces/msg/Duration"](sec=seconds, nanosec=nanoseconds),
    )  # fmt: skip
    message = types[JOINT_TRAJECTORY](
        header=make_header(0, ""), joint_names=list(made.names), points=[point]
    )
    return bytes(typestore().serialize_cdr(message, JOINT_TRAJECTORY))
