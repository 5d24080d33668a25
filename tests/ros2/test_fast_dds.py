"""The commands ros2 and record against another implementation of DDS: Fast DDS, Humble's default.

tests/ros2/peer/robot.cpp plays the robot; it is built here from Debian's libraries.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.params import Params
from pipeline.recordings.rosbag.messages import JOINT_STATE, POSE_STAMPED, typestore
from pipeline.recordings.rosbag.reader import open_bag
from pipeline.ros2.names import dds_type
from tests.conftest import HANG_S
from tests.fixtures.ros2 import wait_until
from tests.stages.test_serve import exported_small  # noqa: F401

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "peer/robot.cpp"
HEADER = Path("/usr/include/fastrtps/fastrtps_all.h")
JOINTS = [f"joint_{index}" for index in range(1, 7)]


@pytest.fixture(scope="module")
def robot_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    compiler = shutil.which("g++")
    if compiler is None or not HEADER.exists():
        pytest.skip("Fast DDS is not here: apt-get install g++ libfastrtps-dev libfastcdr-dev")
    program = tmp_path_factory.mktemp("peer") / "robot"
    done = subprocess.run(
        [compiler, "-std=c++17", "-Wall", "-Werror", SOURCE, "-o", program, "-lfastrtps",
         "-lfastcdr"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return program


class Robot:
    """The running program and the lines that it prints."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child, self.lines = child, []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        self.lines.extend(iter(self.child.stdout.readline, ""))

    @property
    def commands(self) -> list[dict[str, float]]:
        """Positions by joint, as the robot received them."""
        found = [line.split()[1:] for line in list(self.lines) if line.startswith("command ")]
        assert all(words[:2] == ["0", "33333333"] for words in found), "one period of 30 Hz"
        return [{n: float(v) for n, v in (word.split("=") for word in words[2:])}
                for words in found]  # fmt: skip

    def sent(self, msgtype: str) -> list[bytes]:
        start = f"sent {dds_type(msgtype)} "
        return [bytes.fromhex(line[len(start):]) for line in list(self.lines)
                if line.startswith(start)]  # fmt: skip

    def stop(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        assert self.child.wait(HANG_S) == 0
        self._reader.join(HANG_S)


@contextmanager
def running(program: Path, domain_id: int) -> Iterator[Robot]:
    with subprocess.Popen(
        [program, str(domain_id), "gripper", *reversed(JOINTS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            robot = Robot(child)
            wait_until(lambda: robot.lines or child.poll() is not None, "the robot")
            assert robot.lines[:1] == ["ready\n"]
            yield robot
        finally:
            child.kill()


@contextmanager
def pipeline(environment: dict[str, str], *arguments: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, arguments)], cwd=REPOSITORY,
        stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()


def test_a_robot_on_fast_dds_follows_the_policy(
    exported_small: Path,  # noqa: F811
    params: Params,
    robot_program: Path,
    domain_id: int,
    environment: dict[str, str],
) -> None:
    assert tuple(JOINTS) == tuple(params.robot.joints)
    patient = ("--joints-max-age-s", "1000", "--pose-max-age-s", "1000")
    arguments = ("ros2", "--model", exported_small, *patient)
    with pipeline(environment, *arguments) as child, running(robot_program, domain_id) as robot:
        wait_until(lambda: len(robot.commands) >= 30 or child.poll() is not None, "30 commands")
        child.send_signal(signal.SIGINT)
        told, _ = child.communicate(timeout=HANG_S)
        assert child.returncode == 0 and "sending commands" in told, told
        robot.stop()
    commands = robot.commands
    assert all(list(command) == JOINTS for command in commands)
    positions = np.array([list(command.values()) for command in commands])
    assert np.abs(positions[-1]).max() > 1e-3, "the policy moves the robot"
    # The robot was where it had been told to be: what it received came back as its state.
    states = [typestore().deserialize_cdr(raw, JOINT_STATE) for raw in robot.sent(JOINT_STATE)]
    assert states[0].name == ["gripper", *reversed(JOINTS)]
    visited = {tuple(state.position[:0:-1]) for state in states}
    assert visited - {(0.0,) * 6} <= set(map(tuple, positions)) and len(visited) > 5


def test_what_fast_dds_sends_is_recorded_byte_for_byte(
    robot_program: Path, domain_id: int, environment: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "session_1"
    with pipeline(environment, "record", out) as child, running(robot_program, domain_id) as robot:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        assert "Listening" in lines[0]
        assert sorted(lines[1:]) == [
            "recording /joint_states (sensor_msgs/msg/JointState)\n",
            "recording /pen_pose (geometry_msgs/msg/PoseStamped)\n",
        ]
        begun = len(robot.sent(JOINT_STATE))
        wait_until(lambda: len(robot.sent(JOINT_STATE)) > begun + 200, "200 states")
        child.send_signal(signal.SIGTERM)
        told, _ = child.communicate(timeout=HANG_S)
        assert child.returncode == 0, told
        robot.stop()
    with open_bag(out) as bag:
        topics = {topic.topic: topic.msgtype for topic in bag.topics}
        recorded = list(bag.messages([topic.key for topic in bag.topics]))
    assert topics == {"/joint_states": JOINT_STATE, "/pen_pose": POSE_STAMPED}
    for topic, msgtype in topics.items():
        sent = robot.sent(msgtype)
        kept = [raw for key, _, raw in recorded if key[0] == topic]
        assert len(kept) > 50
        assert set(kept) <= set(sent)
        first = sent.index(kept[0])
        if msgtype == JOINT_STATE:  # reliable: none is missing in between
            assert kept == sent[first : first + len(kept)]
        # Fast CDR's bytes are also those of rosbags.
        message = typestore().deserialize_cdr(kept[0], msgtype)
        assert bytes(typestore().serialize_cdr(message, msgtype)) == kept[0]
