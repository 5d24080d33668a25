"""The command drives a robot over DDS: a process of its own, on loopback, until it is stopped."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.params import Params
from pipeline.recordings.rosbag.messages import (
    JOINT_STATE,
    JOINT_TRAJECTORY,
    POSE_STAMPED,
    typestore,
)
from pipeline.ros2.network import DdsError, Network, Reach
from pipeline.ros2.settings import NodeSettings
from pipeline.stages.robot import ros2
from tests.conftest import HANG_S
from tests.fixtures.ros2 import *  # noqa: F403
from tests.fixtures.ros2 import joint_state, pose, wait_until
from tests.stages.test_serve import exported_small  # noqa: F401

REPOSITORY = Path(__file__).parents[3]
HOME = np.array([0.0, -0.3, 0.8, 0.0, 1.57, 0.0])
RELIABLE = Reach(reliable=True, transient_local=False)
# The test is about messages; how old they are on a busy machine is not its subject.
PATIENT = ("--joints-max-age-s", "1000", "--pose-max-age-s", "1000")


def test_the_robot_moves_as_the_policy_commands(
    exported_small: Path,  # noqa: F811
    params: Params,
    network: Network,
    environment: dict[str, str],
) -> None:
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    from pipeline.ros2.participant import Participant

    command = [sys.executable, "-m", "pipeline", "ros2", "--model", str(exported_small), *PATIENT]
    store, joints = typestore(), params.robot.joints
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    ) as child, Participant(network) as robot:  # fmt: skip
        try:
            assert child.stdout is not None
            assert f"onnxruntime: domain {network.domain_id}, /joint_states" in (
                child.stdout.readline()
            )
            states = robot.advertise("/joint_states", JOINT_STATE, store, RELIABLE, 10)
            poses = robot.advertise("/pen_pose", POSE_STAMPED, store, RELIABLE, 10)
            heard = robot.subscribe(
                NodeSettings().commands, JOINT_TRAJECTORY, store, RELIABLE, None
            )
            wait_until(lambda: heard.publishers and states.subscribers, "the command")
            wait_until(lambda: poses.subscribers, "the command")
            position, targets = HOME, []

            def move() -> bool:
                nonlocal position
                for sample in heard.take():
                    message = store.deserialize_cdr(sample.data, JOINT_TRAJECTORY)
                    assert tuple(message.joint_names) == tuple(joints)
                    position = message.points[0].positions
                    targets.append(position)
                # In another order and with a joint that is none of the policy's.
                order = np.random.default_rng(len(targets)).permutation(len(joints))
                states.write(joint_state(
                    ["gripper", *(joints[each] for each in order)], [1.0, *position[order]]
                ))  # fmt: skip
                poses.write(pose([0.4, 0.0, 0.2]))
                return len(targets) >= 20

            wait_until(move, "20 commands")
            assert np.abs(np.diff(np.array([HOME, *targets]), axis=0)).max() < 0.2
            assert not np.allclose(targets[-1], HOME, atol=1e-4)
            child.send_signal(signal.SIGTERM)
            assert child.wait(HANG_S) == 0
            told = child.stdout.read()
            assert "sending commands" in told and told.endswith("Stopped\n")
        finally:
            child.kill()


def test_without_cyclone_it_says_what_to_install(
    exported_small: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("pipeline.ros2.participant"):
            raise ModuleNotFoundError("No module named 'cyclonedds'", name="cyclonedds")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DdsError, match=r"cyclonedds is not installed.*pip install '\.\[ros2\]'"):
        ros2.run(exported_small, "auto", NodeSettings())
