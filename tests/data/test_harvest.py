"""One recording gives verdicts on all that it holds, and the same ones each time."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.bag_writer import BagWriter
from pipeline.data.harvest import harvest
from pipeline.data.sources import describe_source

ROOT = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
JOINTS = tuple(f"joint_{index}" for index in range(1, 7))


@pytest.fixture
def bag(tmp_path):
    """A good plan, one without times, and one that is no message at all."""
    t = np.linspace(0.0, 1.2, 13)
    position = (t / 3)[:, None] * np.ones(6)
    velocity = np.full((13, 6), 1 / 3)
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        writer.object_pose(0, "base_link", np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]))
        for index, times in enumerate((t, t * 0)):
            writer.plan(index + 1, JOINTS, times, position, velocity, velocity, position[0])
        writer._write("/display_planned_path", "moveit_msgs/msg/DisplayTrajectory", 9, b"\x00\x01")
    return tmp_path / "bag"


def test_good_bad_and_unreadable_messages_each_have_a_verdict(bag, arm, params):
    source = describe_source(bag)
    verdicts = list(harvest(source, arm, params))
    assert [verdict.episode is not None for verdict in verdicts] == [True, False, False]
    # The broken message is told at once, a plan only when all that belongs to it was read.
    assert [verdict.findings[0].code for verdict in verdicts[1:]] == [
        "DECODE_ERROR", "TIME_ALL_ZERO",
    ]  # fmt: skip
    again = list(harvest(source, arm, params))
    assert again[0].episode.content_hash == verdicts[0].episode.content_hash
    assert again[1:] == verdicts[1:]


def test_a_recording_that_cannot_be_read_has_one_verdict(tmp_path, arm, params):
    (tmp_path / "traj_1.npz").write_bytes(b"no")
    (verdict,) = harvest(describe_source(tmp_path / "traj_1.npz"), arm, params)
    assert verdict.findings[0].code == "NPZ_UNREADABLE"
    assert verdict.findings[0].message is None


def test_a_recording_without_a_word_says_so(tmp_path, arm, params):
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        writer._write("/episode_mark", "std_msgs/msg/Bool", 0, b"\x00\x01\x00\x00\x00")
        for time in (1, 2):
            writer.joint_state(time, JOINTS, np.zeros(6), np.zeros(6))
    (verdict,) = harvest(describe_source(tmp_path / "bag"), arm, params)
    assert verdict.findings[0].code == "BAG_EMPTY"


@pytest.mark.skipif(not ROOT.is_dir(), reason="recordings of other projects are not at hand")
def test_a_real_ros_1_recording_of_six_joints_becomes_an_episode(arm, params):
    source = describe_source(ROOT / "plotjuggler" / "datasamples" / "fake_joint_state.bag")
    names = [f"joint_{index}" for index in range(6)]
    pose = (0.4, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0)
    fitting = params.override("robot", joints=names).override("ingest", object_pose=pose)
    (verdict,) = harvest(source, replace(arm, joints=tuple(names)), fitting)
    assert [finding.code for finding in verdict.findings] == ["COMMAND_DERIVED"]
    assert len(verdict.episode.t) == 2725
    assert verdict.episode.duration_s == pytest.approx(2.72, abs=0.01)
    (verdict,) = harvest(source, arm, params)
    assert "without joint_6" in verdict.findings[0].value
