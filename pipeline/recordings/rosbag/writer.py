"""Writes plans, joint states, object poses and obstacles as a rosbag2 that ROS 2 can open.

Owns topics, QoS and storage of a recording, and knows nothing about robots or planning. The same
calls write the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from pipeline.errors import PipelineError
from pipeline.recordings.rosbag.messages import (
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    PLANNING_SCENE,
    POSE_STAMPED,
    JointStateSerializer,
    serialize_display_trajectory,
    serialize_pose,
    typestore,
)
from pipeline.recordings.rosbag.planning_scene import obstacle_name, serialize_planning_scene

FloatArray = NDArray[np.floating[Any]]

# RMW's "infinite", as rosbag2 records it for deadline, lifespan and lease.
_INFINITE = QosTime(sec=9223372036, nsec=854775807)
# The default of publishers of these topics.
_QOS = Qos(
    history=QosHistory.KEEP_LAST,
    depth=10,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.VOLATILE,
    deadline=_INFINITE,
    lifespan=_INFINITE,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=_INFINITE,
    avoid_ros_namespace_conventions=False,
)


class BagWriteError(PipelineError):
    """A recording cannot be written."""


class BagWriter:
    """A rosbag2 folder being written; use it as a context manager.

    Messages may be written in any order: readers sort them by their log time.
    """

    def __init__(
        self,
        path: Path,
        storage: Literal["mcap", "sqlite3"],
        *,
        model_id: str = "",
        frame_id: str = "base_link",
    ) -> None:
        """Prepare a recording.

        Args:
            path: the folder to create; it must not exist.
            storage: the storage plugin of rosbag2.
            model_id: name of the robot in plans.
            frame_id: root frame of the robot in plans.

        Raises:
            BagWriteError: the path exists.
        """
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        try:
            # Every distribution from Humble on reads the QoS of version 8.
            self._writer = Writer(path, version=8, storage_plugin=plugin)
        except WriterError as error:
            raise BagWriteError(
                f"{path}: exists already, expected a free path for a new recording; remove it"
            ) from error
        self._model_id = model_id
        self._frame_id = frame_id
        self._connections: dict[str, Connection] = {}
        self._obstacles: dict[str, int] = {}
        """Obstacles in the scene of each topic."""
        self._joint_states: dict[tuple[str, ...], JointStateSerializer] = {}

    def __enter__(self) -> Self:
        """Create the folder."""
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the index and metadata.yaml; after an error, write neither."""
        self._writer.__exit__(kind, error, traceback)

    def plan(
        self,
        time_ns: int,
        joint_names: Sequence[str],
        t: FloatArray,
        joint_pos: FloatArray,
        joint_vel: FloatArray,
        joint_acc: FloatArray,
        start_pos: FloatArray,
        topic: str = "/display_planned_path",
    ) -> None:
        """Record a plan as moveit_msgs/msg/DisplayTrajectory.

        Args:
            time_ns: log time, ns.
            joint_names: names of the J joints.
            t: times from the plan's start, s. Shape (P,).
            joint_pos: positions, rad. Shape (P, J).
            joint_vel: velocities, rad/s. Shape (P, J).
            joint_acc: accelerations, rad/s². Shape (P, J).
            start_pos: the robot's joints before the plan, rad. Shape (J,).
            topic: where it was published.

        Raises:
            BagWriteError: the topic carries another type.
        """
        data = serialize_display_trajectory(
            self._model_id,
            self._frame_id,
            joint_names,
            t,
            joint_pos,
            joint_vel,
            joint_acc,
            start_pos,
        )
        self._write(topic, DISPLAY_TRAJECTORY, time_ns, data)

    def joint_state(
        self,
        time_ns: int,
        joint_names: Sequence[str],
        joint_pos: FloatArray,
        joint_vel: FloatArray,
        topic: str = "/joint_states",
    ) -> None:
        """Record measured joints as sensor_msgs/msg/JointState.

        Args:
            time_ns: log time and stamp, ns.
            joint_names: names of the J joints.
            joint_pos: rad. Shape (J,).
            joint_vel: rad/s. Shape (J,).
            topic: where they were published.

        Raises:
            BagWriteError: the topic carries another type.
        """
        names = tuple(joint_names)
        serializer = self._joint_states.get(names)
        if serializer is None:
            serializer = self._joint_states[names] = JointStateSerializer(names)
        self._write(topic, JOINT_STATE, time_ns, serializer(time_ns, joint_pos, joint_vel))

    def object_pose(
        self,
        time_ns: int,
        frame_id: str,
        position: FloatArray,
        quaternion_xyzw: FloatArray,
        topic: str = "/pen_pose",
    ) -> None:
        """Record where the object lies as geometry_msgs/msg/PoseStamped.

        Args:
            time_ns: log time and stamp, ns.
            frame_id: frame of the pose.
            position: m. Shape (3,).
            quaternion_xyzw: unit quaternion; the object's axis is its z. Shape (4,).
            topic: where it was published.

        Raises:
            BagWriteError: the topic carries another type.
        """
        data = serialize_pose(time_ns, frame_id, position, quaternion_xyzw)
        self._write(topic, POSE_STAMPED, time_ns, data)

    def planning_scene(
        self,
        time_ns: int,
        obstacles: NDArray[np.float64],
        frame_id: str,
        topic: str = "/planning_scene",
    ) -> None:
        """Record the obstacles as moveit_msgs/msg/PlanningScene; they replace those before.

        Writes nothing if there are no obstacles and there were none before.

        Args:
            time_ns: log time and stamp, ns.
            obstacles: rows of `pipeline.obstacles`. Shape (M, 12).
            frame_id: frame of the obstacles.
            topic: where they were published.

        Raises:
            BagWriteError: the topic carries another type.
            ObstacleError: an obstacle is neither a box nor a cylinder nor a sphere.
        """
        number, before = len(obstacles), self._obstacles.get(topic, 0)
        if not number and not before:
            return
        removed = [obstacle_name(gone) for gone in range(number + 1, before + 1)]
        data = serialize_planning_scene(time_ns, frame_id, obstacles, removed)
        self._write(topic, PLANNING_SCENE, time_ns, data)
        self._obstacles[topic] = number

    def _write(self, topic: str, msgtype: str, time_ns: int, data: bytes) -> None:
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(
                topic, msgtype, typestore=typestore(), offered_qos_profiles=[_QOS]
            )
            self._connections[topic] = connection
        elif connection.msgtype != msgtype:
            raise BagWriteError(
                f"topic {topic} carries {connection.msgtype}, not {msgtype}: name another topic"
            )
        self._writer.write(connection, time_ns, data)
