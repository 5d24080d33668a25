"""Run a policy among ROS 2 nodes, without ROS, until it is stopped."""

from __future__ import annotations

from pathlib import Path

from pipeline.ros2.network import DdsError, Network
from pipeline.ros2.settings import NodeSettings
from pipeline.ros2.signals import stop_event
from pipeline.run import console
from pipeline.runtime.load import load_policy


def run(model: str | Path, backend: str, settings: NodeSettings) -> None:
    """Subscribe, and send commands until SIGINT or SIGTERM.

    Args:
        model: folder of stage export, policy.onnx, a checkpoint, or REPOSITORY@VERSION.
        backend: auto, tensorrt, tensorrt-rtx, onnxruntime or torch.
        settings: topics, frames and ages.

    Raises:
        PipelineError: the policy does not load, Cyclone DDS is missing, or the domain or a topic
            cannot be used.
    """
    try:
        from pipeline.ros2.controller import Controller
        from pipeline.ros2.node import Node
        from pipeline.ros2.participant import Participant
    except ModuleNotFoundError as error:
        raise DdsError(
            f"{error.name} is not installed, which speaks DDS: run `pip install '.[ros2]'`"
        ) from error

    network = Network.from_environment()
    policy = load_policy(model, backend)
    with stop_event() as stopped, Participant(network) as participant:
        node = Node(participant, Controller(policy, settings), settings, console.print)
        console.print(
            f"{model} on {policy.name}: domain {network.domain_id}, {settings.joint_states} and "
            f"{settings.object_pose} to {settings.commands}, {policy.control_hz:g} commands a "
            "second (Ctrl-C stops)"
        )
        node.run(stopped.is_set)
    console.print("Stopped")
