from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from pipeline.hashing import sha256_file
from pipeline.obstacles import sphere
from pipeline.params import Params
from pipeline.recordings.rosbag.messages import typestore
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.robot.demonstrations import Demonstration, Try
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.stages import collect

EPISODES = 5


@pytest.fixture(scope="module")
def out(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collect") / "out"
    collect.run(params.override("collect", episodes=EPISODES, workers=1), folder)
    return folder


def test_the_bytes_do_not_depend_on_the_number_of_workers(
    params: Params, out: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    collect.run(params.override("collect", episodes=EPISODES, workers=2), again)
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert len(files) == 4, "bag, its metadata, collect.json and the marker"
    for file in files:
        assert sha256_file(again / file) == sha256_file(out / file), file


def test_the_report_counts_every_try(out: Path) -> None:
    report = json.loads((out / "collect.json").read_text())
    assert report["episodes"] == EPISODES
    assert report["tries"] == EPISODES + sum(report["failures"].values())
    assert sum(band["tries"] for band in report["by_tilt"]) == report["tries"]
    assert sum(band["planned"] for band in report["by_tilt"]) == EPISODES
    assert report["end_error_mm"]["max"] < 0.5
    assert 0.3 < report["duration_s"]["median"] < 3


def test_the_bag_holds_object_plan_and_execution(params: Params, out: Path) -> None:
    store = typestore()
    counts: Counter[str] = Counter()
    model = RobotModel.from_params(params.robot)
    time_ns, plan_ns, end_s, cap = 0, 0, 0.0, np.zeros(3)
    with Reader(out / "bag") as reader:
        for connection, log_ns, data in reader.messages():
            message = store.deserialize_cdr(data, connection.msgtype)
            counts[connection.topic] += 1
            assert log_ns > time_ns or connection.topic == "/joint_states"
            time_ns = log_ns
            if connection.topic == "/pen_pose":
                assert message.header.frame_id == "base_link"
                where, turn = message.pose.position, message.pose.orientation
                z = 1 - 2 * (turn.x**2 + turn.y**2)
                axis = [2 * (turn.x * turn.z + turn.w * turn.y)]
                axis += [2 * (turn.y * turn.z - turn.w * turn.x), z]
                cap = np.array([where.x, where.y, where.z]) + np.array(axis) * 0.1207 / 2
            elif connection.topic == "/display_planned_path":
                plan_ns = log_ns
                trajectory = message.trajectory[0].joint_trajectory
                assert trajectory.header.stamp.sec == trajectory.header.stamp.nanosec == 0
                assert tuple(trajectory.joint_names) == params.robot.joints
                last = trajectory.points[-1]
                end_s = last.time_from_start.sec + last.time_from_start.nanosec * 1e-9
                assert model.fk(last.positions)[:3] == pytest.approx(cap, abs=1e-5)
            else:
                assert tuple(message.name) == (*params.robot.joints, "rh_r1_joint")
                passed_s = (log_ns - plan_ns) * 1e-9
                assert 0 <= passed_s <= end_s + params.collect.hold_s + 1e-6
    assert counts["/pen_pose"] == counts["/display_planned_path"] == EPISODES
    assert counts["/joint_states"] > 50 * EPISODES


def test_obstacles_are_recorded_before_the_object(params: Params, tmp_path: Path) -> None:
    t = np.array([0.0, 0.5])
    plan = Plan(t, *np.zeros((3, 2, 6)))
    done = Demonstration(plan, t, plan.joint_pos, plan.joint_vel, 0.0, 0.0)
    time_ns = collect.EPOCH_NS
    with BagWriter(tmp_path / "bag", "mcap") as bag:
        for number in (2, 0, 0):
            rows = np.array([sphere([i, 0, 0], 0.1) for i in range(number)]).reshape(-1, 12)
            attempt = Try(np.zeros(3), np.array([0.0, 0.0, 1.0]), None, done, rows)
            time_ns = collect._record(bag, params, attempt, done, time_ns) + collect.PAUSE_NS
    with Reader(tmp_path / "bag") as reader:
        said = [(each.topic, log_ns) for each, log_ns, _ in reader.messages()]
    assert [topic for topic, _ in said if topic != "/joint_states"] == [
        "/planning_scene", "/pen_pose", "/display_planned_path",
        "/planning_scene", "/pen_pose", "/display_planned_path",
        "/pen_pose", "/display_planned_path",
    ]  # fmt: skip
    assert [log_ns for _, log_ns in said] == sorted(log_ns for _, log_ns in said)


def test_unreachable_objects_end_the_stage(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "HOPELESS_TRIES", 10)
    far = params.override("task", cap_min_m=(3.0, 0.0, 0.2), cap_max_m=(3.1, 0.1, 0.3))
    far = far.override("collect", ik_seeds=1, workers=1)
    with pytest.raises(collect.CollectError, match="10 unreachable"):
        collect.run(far, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_statistics_count_tilts_in_bands() -> None:
    statistics = collect.Statistics(30.0)
    for tilt_deg in (0.0, 5.0, 12.0, 30.0):
        tilt = np.radians(tilt_deg)
        axis = np.array([np.sin(tilt), 0.0, np.cos(tilt)])
        statistics.add(Try(np.zeros(3), axis, "unreachable", None))
    assert [band[0] for band in statistics.bands] == [2, 1, 1]
    assert statistics.reasons["unreachable"] == 4
