"""A ROS 2 node around an exported policy: joint states, object and obstacles in, commands out.

    ros2 run … or: python examples/ros2/policy_node.py --ros-args -p model:=/opt/policy/export

This node was never run, because no ROS was at hand; only its message handling
(pipeline.runtime.joint_state, pipeline.recordings.scene) is tested.
Needs rclpy (Humble or later), sensor_msgs, geometry_msgs, trajectory_msgs, and the extra `runtime`;
for obstacles also moveit_msgs.

With `planning_scene:=/monitored_planning_scene` it asks MoveIt for its planning scene once and
follows its changes; the objects in it, except `ignored_object`, are the obstacles. Their frame must
be the base frame.

While an observation is missing, too old or broken it sends nothing and forgets its history; the
trajectory controller then holds the last point. It does not know people, nor obstacles without a
planning scene. Speeds and positions are limited, forces are not. Keep the robot's own safety
functions on.
"""

from __future__ import annotations

import rclpy
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

import pipeline
from pipeline.errors import PipelineError
from pipeline.recordings.pose import IDENTITY
from pipeline.recordings.scene import Scene
from pipeline.recordings.scene_messages import parse_planning_scene
from pipeline.runtime.joint_state import AgeLimits, Command, MessageError, Observer, command

DEFAULTS = {
    "model": "artifacts/export",
    "backend": "auto",
    "base_frame": "base_link",
    "joint_states": "/joint_states",
    "object_pose": "/pen_pose",
    "commands": "/joint_trajectory_controller/joint_trajectory",
    "joints_max_age_s": 0.1,
    "pose_max_age_s": 0.5,
    "max_clock_lead_s": 0.05,
    "planning_scene": "",
    "ignored_object": "pen",
}


class PolicyNode(Node):
    """Asks the policy at its own rate, from the newest messages."""

    def __init__(self) -> None:
        """Load the policy, subscribe, start the timer."""
        super().__init__("diffusion_policy")
        value = {name: self.declare_parameter(name, d).value for name, d in DEFAULTS.items()}
        self._policy = pipeline.load_policy(value["model"], value["backend"])
        self._joints = self._policy.layout.joints
        limits = AgeLimits(
            value["joints_max_age_s"], value["pose_max_age_s"], value["max_clock_lead_s"]
        )
        self._base, topic = value["base_frame"], value["planning_scene"]
        self._observer = Observer(self._joints, self._base, limits, needs_obstacles=bool(topic))
        self._scene = Scene([value["ignored_object"]])
        if topic:
            self._follow(topic)
        self._running = False
        self.create_subscription(
            JointState, value["joint_states"], self._on_joints, qos_profile_sensor_data
        )
        self.create_subscription(
            PoseStamped, value["object_pose"], self._on_pose, qos_profile_sensor_data
        )
        self._commands = self.create_publisher(JointTrajectory, value["commands"], 1)
        self.create_timer(1 / self._policy.control_hz, self._step)

    def _follow(self, topic) -> None:
        """Subscribe to the changes of the planning scene, and ask for the whole one."""
        from moveit_msgs.msg import PlanningScene, PlanningSceneComponents
        from moveit_msgs.srv import GetPlanningScene

        self.create_subscription(PlanningScene, topic, self._on_scene, 100)
        whole = GetPlanningScene.Request()
        whole.components.components = (
            PlanningSceneComponents.WORLD_OBJECT_NAMES
            | PlanningSceneComponents.WORLD_OBJECT_GEOMETRY
            | PlanningSceneComponents.ROBOT_STATE_ATTACHED_OBJECTS
            | PlanningSceneComponents.OCTOMAP
        )
        client = self.create_client(GetPlanningScene, "/get_planning_scene")
        client.wait_for_service()
        answer = client.call_async(whole)
        answer.add_done_callback(lambda done: self._on_scene(done.result().scene))

    def _on_scene(self, message) -> None:
        try:
            change = parse_planning_scene("", 0, 0, message)
        except ValueError as error:
            self._observer.obstacles(None, [str(error)])
            return
        found = self._scene.apply(change, self._locate)
        unknown = (*found.unresolved, *found.invalid, *found.unsupported)
        self._observer.obstacles(found.rows, unknown)

    def _locate(self, frame):
        return IDENTITY if frame.lstrip("/") == self._base else None

    def _on_joints(self, message: JointState) -> None:
        self._take(
            self._observer.joints, _seconds(message), list(message.name), list(message.position)
        )

    def _on_pose(self, message: PoseStamped) -> None:
        p, q = message.pose.position, message.pose.orientation
        self._take(
            self._observer.pose, _seconds(message), message.header.frame_id,
            [p.x, p.y, p.z], [q.x, q.y, q.z, q.w],
        )  # fmt: skip

    def _take(self, what, *arguments) -> None:
        try:
            what(*arguments)
        except MessageError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)

    def _step(self) -> None:
        now_s = self.get_clock().now().nanoseconds * 1e-9
        try:
            seen = self._observer.observation(now_s)
            if not self._running:
                self._policy.reset()
            positions = self._policy.act(seen)
            self._commands.publish(
                _trajectory(command(self._joints, positions, self._policy.control_hz))
            )
            self._running = True
        except PipelineError as error:
            self._running = False
            self.get_logger().warning(f"no command: {error}", throttle_duration_sec=1.0)


def _trajectory(made: Command) -> JointTrajectory:
    whole, part = divmod(made.reach_in_s, 1.0)
    point = JointTrajectoryPoint(
        positions=list(made.positions),
        time_from_start=Duration(sec=int(whole), nanosec=int(part * 1e9)),
    )
    return JointTrajectory(joint_names=list(made.names), points=[point])


def _seconds(message) -> float:
    return Time.from_msg(message.header.stamp).nanoseconds * 1e-9


def main() -> None:
    """Spin until stopped."""
    rclpy.init()
    node = PolicyNode()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()


if __name__ == "__main__":
    main()
