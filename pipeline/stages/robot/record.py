"""Record what ROS 2 nodes publish, without ROS, until it is stopped."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pipeline.ros2.network import DdsError, Network
from pipeline.ros2.signals import stop_event
from pipeline.run import console


def run(out: Path, topics: Collection[str], msg_path: Path | None) -> None:
    """Write a rosbag2 until SIGINT or SIGTERM; it appears when it is complete.

    Args:
        out: the recording; it must not exist.
        topics: names of the topics; none for every topic that ingest could read.
        msg_path: folder of the user's own .msg files; None for none.

    Raises:
        PipelineError: Cyclone DDS is missing, the domain or a topic cannot be used, the recording
            cannot be written, or nothing was heard.
    """
    try:
        from pipeline.ros2.bag import RecordedBag
        from pipeline.ros2.participant import Participant
        from pipeline.ros2.recorder import Recorder
    except ModuleNotFoundError as error:
        raise DdsError(
            f"{error.name} is not installed, which speaks DDS: run `pip install '.[ros2]'`"
        ) from error

    network = Network.from_environment()
    with stop_event() as stopped, Participant(network) as participant, RecordedBag(out) as bag:
        recorder = Recorder(participant, bag, topics, msg_path, console.print)
        console.print(f"Listening on domain {network.domain_id} (Ctrl-C ends the recording)")
        recorder.run(stopped.is_set)
        recorder.write_messages()
        for line in recorder.summary():
            console.print(line)
    console.print(f"Wrote {out}: {bag.messages} messages")
