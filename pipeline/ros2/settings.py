"""What a ROS 2 node around a policy is told: topics, frames and ages. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeSettings:
    """Settings of the command `ros2`, and parameters of the rclpy node in examples/ros2."""

    joint_states: str = "/joint_states"
    """Topic of sensor_msgs/msg/JointState."""
    object_pose: str = "/pen_pose"
    """Topic of geometry_msgs/msg/PoseStamped; its z is the object's axis."""
    commands: str = "/joint_trajectory_controller/joint_trajectory"
    """Topic of trajectory_msgs/msg/JointTrajectory."""
    planning_scene: str = ""
    """Topic of moveit_msgs/msg/PlanningScene; empty where obstacles are not followed."""
    base_frame: str = "base_link"
    """The robot's base frame, in which poses must be given."""
    ignored_object: str = "pen"
    """Object of the planning scene that is no obstacle."""
    joints_max_age_s: float = 0.1
    """Maximum age of a joint state, s."""
    pose_max_age_s: float = 0.5
    """Maximum age of the object's pose, s."""
    max_clock_lead_s: float = 0.05
    """Maximum time by which a stamp may lie in the future, s."""
