"""A ROS 2 node around an exported policy: joint states, object and obstacles in, commands out.

    ros2 run … or: python examples/ros2/policy_node.py --ros-args -p model:=/opt/policy/export

This node was never run, because no ROS was at hand; only its message handling
(pipeline.ros2.controller) is tested, and runs without ROS in `python -m pipeline ros2`.
Needs rclpy (Humble or later), sensor_msgs, geometry_msgs, trajectory_msgs, and the extra `runtime`;
for obstacles also moveit_msgs. Its parameters are the fields of `NodeSettings`, `model` and
`backend`.

With `planning_scene:=/monitored_planning_scene` it asks MoveIt for its planning scene once and
follows its changes; the objects in it, except `ignored_object`, are the obstacles. Their frame must
be the base frame.

While an observation is missing, too old or broken it sends nothing and forgets its history; the
trajectory controller then holds the last point. It does not know people, nor obstacles without a
planning scene. Speeds and positions are limited, forces are not. Keep the robot's own safety
functions on.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import rclpy
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

import pipeline
from pipeline.errors import PipelineError
from pipeline.ros2.controller import Controller, seconds_and_nanoseconds
from pipeline.ros2.settings import NodeSettings
from pipeline.runtime.joint_state import Command, MessageError


class PolicyNode(Node):
    """Asks the policy at its own rate, from the newest messages."""

    def __init__(self) -> None:
        """Load the policy, subscribe, start the timer."""
        super().__init__("diffusion_policy")
        settings = NodeSettings(
            **{name: self.declare_parameter(name, d).value
               for name, d in asdict(NodeSettings()).items()}
        )  # fmt: skip
        model = self.declare_parameter("model", "artifacts/export").value
        backend = self.declare_parameter("backend", "auto").value
        self._controller = Controller(pipeline.load_policy(model, backend), settings)
        if settings.planning_scene:
            self._follow(settings.planning_scene)
        for msgtype, topic, handle in (
            (JointState, settings.joint_states, self._controller.on_joints),
            (PoseStamped, settings.object_pose, self._controller.on_pose),
        ):
            self.create_subscription(
                msgtype, topic, partial(self._take, handle), qos_profile_sensor_data
            )
        self._commands = self.create_publisher(JointTrajectory, settings.commands, 1)
        self.create_timer(1 / self._controller.control_hz, self._step)

    def _follow(self, topic) -> None:
        """Subscribe to the changes of the planning scene, and ask for the whole one."""
        from moveit_msgs.msg import PlanningScene, PlanningSceneComponents
        from moveit_msgs.srv import GetPlanningScene

        on_scene = self._controller.on_scene
        self.create_subscription(PlanningScene, topic, partial(self._take, on_scene), 100)
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
        answer.add_done_callback(lambda done: self._take(on_scene, done.result().scene))

    def _take(self, handle, message) -> None:
        try:
            handle(message)
        except MessageError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)

    def _step(self) -> None:
        try:
            made = self._controller.step(self.get_clock().now().nanoseconds * 1e-9)
        except PipelineError as error:
            self.get_logger().warning(f"no command: {error}", throttle_duration_sec=1.0)
            return
        self._commands.publish(_trajectory(made))


def _trajectory(made: Command) -> JointTrajectory:
    seconds, nanoseconds = seconds_and_nanoseconds(made.reach_in_s)
    point = JointTrajectoryPoint(
        positions=list(made.positions),
        time_from_start=Duration(sec=seconds, nanosec=nanoseconds),
    )
    return JointTrajectory(joint_names=list(made.names), points=[point])


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
