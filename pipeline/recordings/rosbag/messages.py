"""The ROS 2 message types that recordings of MoveIt2 plans hold.

Owns the definitions that rosbags does not ship and the CDR serialisation of the types that the
pipeline writes. It knows nothing about files or episodes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

FloatArray = NDArray[np.floating[Any]]

DISPLAY_TRAJECTORY = "moveit_msgs/msg/DisplayTrajectory"
JOINT_STATE = "sensor_msgs/msg/JointState"
POSE_STAMPED = "geometry_msgs/msg/PoseStamped"
ROBOT_TRAJECTORY = "moveit_msgs/msg/RobotTrajectory"
JOINT_TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
CONTROLLER_STATE = "control_msgs/msg/JointTrajectoryControllerState"
TRACKING_FEEDBACK = "control_msgs/action/FollowJointTrajectory_FeedbackMessage"
TF_MESSAGES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
COLLISION_OBJECT = "moveit_msgs/msg/CollisionObject"
ATTACHED_OBJECT = "moveit_msgs/msg/AttachedCollisionObject"
PLANNING_SCENE = "moveit_msgs/msg/PlanningScene"
MARKS = ("std_msgs/msg/Bool", "std_msgs/msg/String", "std_msgs/msg/Empty")

# Fields and their order as in moveit_msgs (branch humble), object_recognition_msgs and octomap_msgs
# (branch ros2). With the types of common_interfaces, DisplayTrajectory and PlanningScene need no
# others.
DEFINITIONS: dict[str, str] = {
    "object_recognition_msgs/msg/ObjectType": "string key\nstring db\n",
    COLLISION_OBJECT: (
        "std_msgs/Header header\n"
        "geometry_msgs/Pose pose\n"
        "string id\n"
        "object_recognition_msgs/ObjectType type\n"
        "shape_msgs/SolidPrimitive[] primitives\ngeometry_msgs/Pose[] primitive_poses\n"
        "shape_msgs/Mesh[] meshes\ngeometry_msgs/Pose[] mesh_poses\n"
        "shape_msgs/Plane[] planes\ngeometry_msgs/Pose[] plane_poses\n"
        "string[] subframe_names\ngeometry_msgs/Pose[] subframe_poses\n"
        "byte ADD=0\nbyte REMOVE=1\nbyte APPEND=2\nbyte MOVE=3\nbyte operation\n"
    ),
    ATTACHED_OBJECT: (
        "string link_name\n"
        "moveit_msgs/CollisionObject object\n"
        "string[] touch_links\ntrajectory_msgs/JointTrajectory detach_posture\n"
        "float64 weight\n"
    ),
    "moveit_msgs/msg/RobotState": (
        "sensor_msgs/JointState joint_state\n"
        "sensor_msgs/MultiDOFJointState multi_dof_joint_state\n"
        "moveit_msgs/AttachedCollisionObject[] attached_collision_objects\nbool is_diff\n"
    ),
    "moveit_msgs/msg/RobotTrajectory": (
        "trajectory_msgs/JointTrajectory joint_trajectory\n"
        "trajectory_msgs/MultiDOFJointTrajectory multi_dof_joint_trajectory\n"
    ),
    DISPLAY_TRAJECTORY: (
        "string model_id\n"
        "moveit_msgs/RobotTrajectory[] trajectory\n"
        "moveit_msgs/RobotState trajectory_start\n"
    ),
    "octomap_msgs/msg/Octomap": (
        "std_msgs/Header header\nbool binary\nstring id\nfloat64 resolution\nint8[] data\n"
    ),
    "octomap_msgs/msg/OctomapWithPose": (
        "std_msgs/Header header\ngeometry_msgs/Pose origin\noctomap_msgs/Octomap octomap\n"
    ),
    "moveit_msgs/msg/AllowedCollisionEntry": "bool[] enabled\n",
    "moveit_msgs/msg/AllowedCollisionMatrix": (
        "string[] entry_names\nmoveit_msgs/AllowedCollisionEntry[] entry_values\n"
        "string[] default_entry_names\nbool[] default_entry_values\n"
    ),
    "moveit_msgs/msg/LinkPadding": "string link_name\nfloat64 padding\n",
    "moveit_msgs/msg/LinkScale": "string link_name\nfloat64 scale\n",
    "moveit_msgs/msg/ObjectColor": "string id\nstd_msgs/ColorRGBA color\n",
    "moveit_msgs/msg/PlanningSceneWorld": (
        "moveit_msgs/CollisionObject[] collision_objects\noctomap_msgs/OctomapWithPose octomap\n"
    ),
    PLANNING_SCENE: (
        "string name\n"
        "moveit_msgs/RobotState robot_state\n"
        "string robot_model_name\n"
        "geometry_msgs/TransformStamped[] fixed_frame_transforms\n"
        "moveit_msgs/AllowedCollisionMatrix allowed_collision_matrix\n"
        "moveit_msgs/LinkPadding[] link_padding\n"
        "moveit_msgs/LinkScale[] link_scale\n"
        "moveit_msgs/ObjectColor[] object_colors\n"
        "moveit_msgs/PlanningSceneWorld world\n"
        "bool is_diff\n"
    ),
}


@cache
def typestore(distribution: Stores = Stores.ROS2_HUMBLE) -> Typestore:
    """Types of a ROS 2 distribution and those of MoveIt2; register nothing in it.

    Args:
        distribution: which common types to take.
    """
    store = get_typestore(distribution)
    for name, text in DEFINITIONS.items():
        store.register(get_types_from_msg(text, name))
    return store


def make_header(time_ns: int, frame_id: str) -> Any:
    """A std_msgs/msg/Header.

    Args:
        time_ns: stamp, ns.
        frame_id: the frame.
    """
    types = typestore().types
    seconds, nanoseconds = divmod(time_ns, 10**9)
    stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def make_pose(position: FloatArray, quaternion_xyzw: FloatArray) -> Any:
    """A geometry_msgs/msg/Pose.

    Args:
        position: m. Shape (3,).
        quaternion_xyzw: unit quaternion. Shape (4,).
    """
    types = typestore().types
    x, y, z, w = (float(value) for value in quaternion_xyzw)
    return types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](*(float(value) for value in position)),
        orientation=types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
    )


def make_robot_state(joint_state: Any, *, is_diff: bool) -> Any:
    """A moveit_msgs/msg/RobotState without attached objects.

    Args:
        joint_state: a sensor_msgs/msg/JointState.
        is_diff: whether joints that are not named keep their positions.
    """
    types = typestore().types
    return types["moveit_msgs/msg/RobotState"](
        joint_state=joint_state,
        multi_dof_joint_state=types["sensor_msgs/msg/MultiDOFJointState"](
            header=make_header(0, ""), joint_names=[], transforms=[], twist=[], wrench=[]
        ),
        attached_collision_objects=[],
        is_diff=is_diff,
    )


def doubles(values: FloatArray | Sequence[float]) -> NDArray[np.float64]:
    """Numbers as the contiguous float64 that the library serialises."""
    return np.ascontiguousarray(values, dtype=np.float64)


def make_joint_state(
    time_ns: int, names: Sequence[str], joint_pos: FloatArray, joint_vel: FloatArray
) -> Any:
    """A sensor_msgs/msg/JointState without efforts.

    Args:
        time_ns: stamp, ns.
        names: of the J joints.
        joint_pos: rad. Shape (J,).
        joint_vel: rad/s. Shape (J,), or (0,) for none.
    """
    return typestore().types[JOINT_STATE](
        header=make_header(time_ns, ""),
        name=list(names),
        position=doubles(joint_pos),
        velocity=doubles(joint_vel),
        effort=doubles([]),
    )


def serialize_display_trajectory(
    model_id: str,
    frame_id: str,
    joint_names: Sequence[str],
    t: FloatArray,
    joint_pos: FloatArray,
    joint_vel: FloatArray,
    joint_acc: FloatArray,
    start_pos: FloatArray,
) -> bytes:
    """One plan of one segment as moveit_msgs/msg/DisplayTrajectory in CDR.

    Args:
        model_id: name of the robot.
        frame_id: the model's root frame.
        joint_names: names of the J joints.
        t: times from the start, s. Shape (P,).
        joint_pos: positions, rad. Shape (P, J).
        joint_vel: velocities, rad/s. Shape (P, J).
        joint_acc: accelerations, rad/s². Shape (P, J).
        start_pos: the robot's joints before the plan, rad. Shape (J,).
    """
    types = typestore().types
    points = []
    for time_s, position, velocity, acceleration in zip(
        t, joint_pos, joint_vel, joint_acc, strict=True
    ):
        seconds, nanoseconds = divmod(round(float(time_s) * 1e9), 10**9)
        points.append(
            types["trajectory_msgs/msg/JointTrajectoryPoint"](
                positions=doubles(position),
                velocities=doubles(velocity),
                accelerations=doubles(acceleration),
                effort=doubles([]),
                time_from_start=types["builtin_interfaces/msg/Duration"](
                    sec=seconds, nanosec=nanoseconds
                ),
            )
        )
    # MoveIt leaves the stamp of a plan at zero; its time is the log time.
    header = make_header(0, frame_id)
    segment = types["moveit_msgs/msg/RobotTrajectory"](
        joint_trajectory=types["trajectory_msgs/msg/JointTrajectory"](
            header=header, joint_names=list(joint_names), points=points
        ),
        multi_dof_joint_trajectory=types["trajectory_msgs/msg/MultiDOFJointTrajectory"](
            header=make_header(0, ""), joint_names=[], points=[]
        ),
    )
    start = make_robot_state(
        make_joint_state(0, joint_names, start_pos, doubles([])), is_diff=False
    )
    message = types[DISPLAY_TRAJECTORY](
        model_id=model_id, trajectory=[segment], trajectory_start=start
    )
    return bytes(typestore().serialize_cdr(message, DISPLAY_TRAJECTORY, little_endian=True))


def serialize_pose(
    time_ns: int, frame_id: str, position: FloatArray, quaternion_xyzw: FloatArray
) -> bytes:
    """A geometry_msgs/msg/PoseStamped in CDR.

    Args:
        time_ns: stamp, ns.
        frame_id: frame in which the pose is expressed.
        position: m. Shape (3,).
        quaternion_xyzw: unit quaternion. Shape (4,).
    """
    pose = make_pose(position, quaternion_xyzw)
    header = make_header(time_ns, frame_id)
    message = typestore().types[POSE_STAMPED](header=header, pose=pose)
    return bytes(typestore().serialize_cdr(message, POSE_STAMPED, little_endian=True))


class JointStateSerializer:
    """Serialises sensor_msgs/msg/JointState of one set of joints.

    Messages of the same joints differ only in the stamp, the positions and the velocities. One
    message of the library is the template into which these are written, which is faster than the
    library and gives the same bytes.
    """

    def __init__(self, joint_names: Sequence[str]) -> None:
        size = len(joint_names)
        message = make_joint_state(0, joint_names, np.zeros(size), np.zeros(size))
        self._size = size
        self._template = bytes(typestore().serialize_cdr(message, JOINT_STATE, little_endian=True))
        # From the end: an empty effort is a length of 4 bytes. Before each array of doubles stand
        # its length and 4 bytes of padding.
        self._velocity_at = len(self._template) - 4 - 8 * size
        self._position_at = self._velocity_at - 8 - 8 * size

    def __call__(self, time_ns: int, joint_pos: FloatArray, joint_vel: FloatArray) -> bytes:
        """The message in CDR.

        Args:
            time_ns: stamp, ns.
            joint_pos: rad. Shape (J,).
            joint_vel: rad/s. Shape (J,).

        Raises:
            ValueError: an array has not one number for each joint.
        """
        position, velocity = doubles(joint_pos), doubles(joint_vel)
        if position.shape != (self._size,) or velocity.shape != (self._size,):
            raise ValueError(
                f"{self._size} joints, but positions {position.shape}, velocities {velocity.shape}"
            )
        data = bytearray(self._template)
        struct.pack_into("<iI", data, 4, *divmod(time_ns, 10**9))
        data[self._position_at : self._position_at + 8 * self._size] = position.tobytes()
        data[self._velocity_at : self._velocity_at + 8 * self._size] = velocity.tobytes()
        return bytes(data)
