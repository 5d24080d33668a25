"""The command records what is published, and ingest reads the recording."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.dataset.episode_store import read_episodes
from pipeline.recordings.rosbag.messages import JOINT_STATE, typestore
from pipeline.recordings.rosbag.reader import open_bag
from pipeline.ros2.network import DdsError, Network, Reach
from pipeline.stages import ingest
from pipeline.stages.robot import record as stage
from tests.conftest import HANG_S
from tests.fixtures.ros2 import *  # noqa: F403
from tests.fixtures.ros2 import joint_state, wait_until
from tests.stages.test_ingest import record as write_plans
from tests.stages.test_ingest import report_of

REPOSITORY = Path(__file__).parents[3]
RELIABLE = Reach(reliable=True, transient_local=False)


@contextmanager
def recording(out, environment):
    """The command in a process of its own, once it listens."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "record", str(out)], cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            assert "Listening on domain" in child.stdout.readline()
            yield child
        finally:
            child.kill()


def raw_messages(path):
    with open_bag(path) as bag:
        return list(bag.messages([topic.key for topic in bag.topics]))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_robot_s_messages_become_episodes(
    params, tmp_path: Path, network: Network, environment: dict[str, str], end: signal.Signals
) -> None:
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    from pipeline.ros2.participant import Participant

    sent = raw_messages(write_plans(tmp_path / "robot", params))
    out = tmp_path / "session_1"
    with recording(out, environment) as child, Participant(network) as robot:
        sends = {
            key: robot.advertise(*key, typestore(), RELIABLE, len(sent))
            for key in dict.fromkeys(key for key, _, _ in sent)
        }
        wait_until(lambda: all(send.subscribers for send in sends.values()), "the recorder")
        for key, _, data in sent:
            sends[key].write(data)
            if key[1] != JOINT_STATE:  # a plan does not overtake its pose
                assert sends[key].wait_until_received(HANG_S)
        for send in sends.values():
            assert send.wait_until_received(HANG_S)
        assert not out.exists()
        child.send_signal(end)
        told, _ = child.communicate(timeout=HANG_S)
        assert child.returncode == 0
        assert f"Wrote {out}: {len(sent)} messages" in told.replace("\n", " ")
        assert "/display_planned_path (moveit_msgs/msg/DisplayTrajectory): 4 messages" in told
        assert " lost" not in told
    written = raw_messages(out)
    for key in sends:
        # Filled up to a multiple of four bytes, as DDS sends them.
        padded = [raw + bytes(-len(raw) % 4) for each, _, raw in sent if each == key]
        assert [raw for each, _, raw in written if each == key] == padded
    # Sent faster than they were stamped, so the plans are read alone.
    quick = params.override("ingest", joint_topic="/none", discover_topics=False)
    ingest.run(quick, tmp_path / "ingest", out)
    assert report_of(tmp_path / "ingest")["totals"]["accepted"] == 4
    episodes = list(read_episodes(tmp_path / "ingest/episodes.zarr", params.robot.joints, "pen"))
    np.testing.assert_array_equal(episodes[2].object_pos, [0.4, 0.02, 0.2])


def test_without_a_message_nothing_is_written(tmp_path: Path, environment: dict[str, str]) -> None:
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    with recording(tmp_path / "bag", environment) as child:
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=HANG_S)
        assert child.returncode == 1
        assert said == f"error: {tmp_path / 'bag'}: not written, because no message came\n"
    assert list(tmp_path.iterdir()) == []


def test_a_killed_recording_is_kept_beside_its_place(
    tmp_path: Path, network: Network, environment: dict[str, str]
) -> None:
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    from pipeline.ros2.participant import Participant

    partial = tmp_path / ".bag.partial/bag/bag.mcap"
    with recording(tmp_path / "bag", environment) as child, Participant(network) as robot:
        send = robot.advertise("/joint_states", JOINT_STATE, typestore(), RELIABLE, 100)
        wait_until(lambda: send.subscribers, "the recorder")
        big = joint_state([f"joint_{number:04}" for number in range(1000)], np.zeros(1000))

        def is_full() -> bool:
            send.write(big)
            return partial.stat().st_size > 2**20

        wait_until(is_full, "a chunk on disk")
        child.kill()
    assert not (tmp_path / "bag").exists()
    with open_bag(partial, salvage=True) as bag:
        assert {raw for _, _, raw in bag.messages([("/joint_states", JOINT_STATE)])} == {big}


def test_without_cyclone_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("pipeline.ros2.participant"):
            raise ModuleNotFoundError("No module named 'cyclonedds'", name="cyclonedds")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DdsError, match=r"cyclonedds is not installed.*pip install '\.\[ros2\]'"):
        stage.run(tmp_path / "bag", [], None)
    assert list(tmp_path.iterdir()) == []
