"""The commands that run or record a robot, which pipeline.cli adds to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands import options
from pipeline.commands.options import Host, Model, Port, option
from pipeline.ros2.settings import NodeSettings

_DEFAULT = NodeSettings()


def serve(
    model: Model = "artifacts/export",
    host: Host = "127.0.0.1",
    port: Port = 8765,
    backend: options.Backend = "auto",
    token: options.Token = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
) -> None:
    """Serve the exported policy over a WebSocket."""
    from pipeline.stages import serve as stage

    stage.run(model, host, port, backend, token, tls_cert, tls_key, workers)


def ros2(
    model: Model = "artifacts/export",
    backend: options.Backend = "auto",
    joint_states: Annotated[str, typer.Option(help="Topic of joint states.")] = (
        _DEFAULT.joint_states
    ),
    object_pose: Annotated[
        str, typer.Option(help="Topic of the object's pose (PoseStamped).")
    ] = _DEFAULT.object_pose,
    commands: Annotated[str, typer.Option(help="Topic to send commands to.")] = _DEFAULT.commands,
    planning_scene: Annotated[
        str, typer.Option(help="Topic of MoveIt's planning scene, for obstacles.")
    ] = _DEFAULT.planning_scene,
    base_frame: Annotated[str, typer.Option(help="Frame of poses.")] = _DEFAULT.base_frame,
    ignored_object: Annotated[
        str, typer.Option(help="Object of the planning scene that is no obstacle.")
    ] = _DEFAULT.ignored_object,
    joints_max_age_s: Annotated[
        float, typer.Option(help="Maximum age of a joint state, s.")
    ] = _DEFAULT.joints_max_age_s,
    pose_max_age_s: Annotated[
        float, typer.Option(help="Maximum age of a pose, s.")
    ] = _DEFAULT.pose_max_age_s,
    max_clock_lead_s: Annotated[
        float, typer.Option(help="How far a stamp may lie in the future, s.")
    ] = _DEFAULT.max_clock_lead_s,
) -> None:
    """Drive a robot among ROS 2 nodes, over DDS; needs no ROS."""
    from pipeline.stages.robot import ros2 as stage

    settings = NodeSettings(
        joint_states, object_pose, commands, planning_scene, base_frame, ignored_object,
        joints_max_age_s, pose_max_age_s, max_clock_lead_s,
    )  # fmt: skip
    stage.run(model, backend, settings)


def record(
    out: Annotated[Path, typer.Argument(help="Folder to write, a rosbag2.")],
    topic: Annotated[
        list[str] | None,
        typer.Option(help="Topic to record, instead of all that ingest reads; may be repeated."),
    ] = None,
    msg_path: Annotated[
        Path | None, option("msg-path", help="Folder of your own .msg files.")
    ] = None,
) -> None:
    """Record what ROS 2 nodes publish as a rosbag2, over DDS; needs no ROS."""
    from pipeline.stages.robot import record as stage

    stage.run(out, topic or [], msg_path)
