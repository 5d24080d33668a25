"""A recording gives a result for each of its trajectories, the same each time."""

import os
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from pipeline.recordings.rosbag.definitions import bundled_stores
from pipeline.recordings.rosbag.messages import CONTROLLER_STATE
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.recordings.sources import describe_source
from pipeline.validation.validate import validate_recording

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


def test_good_bad_and_unreadable_messages_each_have_a_result(bag, arm, params):
    source = describe_source(bag)
    results = list(chain(*validate_recording(source, arm, params)))
    assert [result.episode is not None for result in results] == [True, False, False]
    # The broken message is told at once, a plan only when all that belongs to it was read.
    assert [result.findings[0].code for result in results[1:]] == [
        "DECODE_ERROR", "TIME_ALL_ZERO",
    ]  # fmt: skip
    again = list(chain(*validate_recording(source, arm, params)))
    assert again[0].episode.content_hash == results[0].episode.content_hash
    assert again[1:] == results[1:]


def test_a_recording_that_cannot_be_read_has_one_result(tmp_path, arm, params):
    (tmp_path / "traj_1.npz").write_bytes(b"no")
    (result,) = chain(*validate_recording(describe_source(tmp_path / "traj_1.npz"), arm, params))
    assert result.findings[0].code == "NPZ_UNREADABLE"
    assert result.findings[0].message is None


def test_a_recording_without_motions_is_reported(tmp_path, arm, params):
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        writer._write("/episode_mark", "std_msgs/msg/Bool", 0, b"\x00\x01\x00\x00\x00")
        for time in (1, 2):
            writer.joint_state(time, JOINTS, np.zeros(6), np.zeros(6))
    (result,) = chain(*validate_recording(describe_source(tmp_path / "bag"), arm, params))
    assert result.findings[0].code == "BAG_EMPTY"


@pytest.mark.skipif(not ROOT.is_dir(), reason="recordings of other projects are not at hand")
def test_a_real_ros_1_recording_of_six_joints_becomes_an_episode(arm, params):
    source = describe_source(ROOT / "plotjuggler" / "datasamples" / "fake_joint_state.bag")
    names = [f"joint_{index}" for index in range(6)]
    pose = (0.4, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0)
    fitting = params.override("robot", joints=names).override("ingest", object_pose=pose)
    (result,) = chain(*validate_recording(source, replace(arm, joints=tuple(names)), fitting))
    assert [finding.code for finding in result.findings] == ["COMMAND_DERIVED"]
    assert len(result.episode.t) == 2725
    assert result.episode.duration_s == pytest.approx(2.72, abs=0.01)
    (result,) = chain(*validate_recording(source, arm, params))
    assert "without joint_6" in result.findings[0].value


def tracking(store, index, t, position):
    """A Galactic controller's state, 40 ms behind what it wants."""
    make = store.types
    late = np.interp(t[index] - 0.04, t, position[:, 0]) * np.ones(6)
    time = make["builtin_interfaces/msg/Time"](sec=1, nanosec=int(t[index] * 1e9))
    rest = {
        "velocities": np.zeros(0), "accelerations": np.zeros(0), "effort": np.zeros(0),
        "time_from_start": make["builtin_interfaces/msg/Duration"](sec=0, nanosec=0),
    }  # fmt: skip
    points = [make["trajectory_msgs/msg/JointTrajectoryPoint"](positions=each, **rest)
              for each in (position[index], late, late)]  # fmt: skip
    header = make["std_msgs/msg/Header"](stamp=time, frame_id="")
    names = ["doosan_" + name for name in JOINTS]
    return make[CONTROLLER_STATE](header, names, *points)


def frame(store, parent, child, x):
    make = store.types
    header = make["std_msgs/msg/Header"](
        stamp=make["builtin_interfaces/msg/Time"](sec=0, nanosec=0), frame_id=parent
    )
    transform = make["geometry_msgs/msg/Transform"](
        translation=make["geometry_msgs/msg/Vector3"](x=x, y=0.0, z=0.0),
        rotation=make["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
    )
    stamped = make["geometry_msgs/msg/TransformStamped"](header, child, transform)
    return make["tf2_msgs/msg/TFMessage"](transforms=[stamped])


@pytest.mark.parametrize("state", ["planned", "measured"])
def test_a_controller_s_state_and_frames_become_an_episode(write_bag, arm, params, state):
    """Nothing but /tf and a prefixed controller's state, with idle ends, and no plan."""
    store = bundled_stores(CONTROLLER_STATE)[-1]
    t = np.arange(0.0, 0.9, 0.02)
    position = np.clip((t - 0.2) * 2, 0.0, 0.8)[:, None] * np.ones(6)
    tf = "tf2_msgs/msg/TFMessage"
    rows = [
        ("/tf_static", tf, 1, frame(store, "base_link", "camera", 0.3)),
        ("/tf", tf, 10**9 - 1, frame(store, "camera", "pen", 0.1)),
        *[("/arm/controller_state", CONTROLLER_STATE, 10**9 + int(at * 1e9),
           tracking(store, index, t, position)) for index, at in enumerate(t)],
    ]  # fmt: skip
    chosen = params.override("ingest", object_frame="pen", state=state)
    (result,) = chain(*validate_recording(describe_source(write_bag(rows, store)), arm, chosen))
    episode = result.episode
    assert [finding.code for finding in result.findings] == ["VEL_DERIVED"]
    np.testing.assert_allclose(episode.object_pos, [0.4, 0.0, 0.0])
    assert episode.provenance.joint_names[0] == "doosan_joint_1"
    assert len(episode.t) < len(t)
    lag = np.abs(episode.joint_command - episode.joint_pos).max()
    assert lag == pytest.approx(0.08 if state == "measured" else 0.0, abs=0.01)
