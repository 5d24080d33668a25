"""JSON and YAML trajectories are read; other content is refused with a reason."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.recordings.formats.json_yaml import JsonYamlError, may_hold_trajectory, read_json_yaml
from pipeline.recordings.recording import Unreadable

NAMES = ["joint_1", "joint_2"]


def trajectory(time=lambda index: {"sec": index, "nanosec": 500_000_000}, velocities=True):
    points = [
        {
            "positions": [0.1 * index, 1e-5],
            "velocities": [1.0, 2.0] if velocities else [],
            "time_from_start": time(index),
        }
        for index in range(3)
    ]
    return {"header": {"frame_id": ""}, "joint_names": NAMES, "points": points}


def robot(part):
    return {"joint_trajectory": part, "multi_dof_joint_trajectory": {"points": []}}


FORMS = {
    "JointTrajectory": lambda part: part,
    "RobotTrajectory": robot,
    "DisplayTrajectory": lambda part: {"model_id": "a", "trajectory": [robot(part)]},
    "a result": lambda part: {"trajectory": robot(part)},
    "a list": lambda part: [part],
}


def read(path):
    return list(read_json_yaml(path, "pen", "base_link"))


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
@pytest.mark.parametrize("form", FORMS)
def test_each_message_is_read_in_json_and_yaml(tmp_path, suffix, form):
    path = tmp_path / f"plan.{suffix}"
    write = json.dumps if suffix == "json" else yaml.safe_dump
    path.write_text(write(FORMS[form](trajectory())))
    assert may_hold_trajectory(path)
    (item,) = read(path)
    (segment,) = item.plan.segments
    assert segment.joint_names == ("joint_1", "joint_2")
    np.testing.assert_allclose(segment.t, [0.5, 1.5, 2.5])
    np.testing.assert_allclose(segment.joint_pos[:, 0], [0.0, 0.1, 0.2])
    np.testing.assert_array_equal(segment.joint_vel, [[1.0, 2.0]] * 3)
    assert item.object_pose is None


@pytest.mark.parametrize("duration", [{"secs": 1, "nsecs": 0}, 1, 1.0, {"sec": 1}])
def test_durations_are_read_in_every_notation(tmp_path, duration):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(trajectory(lambda index: duration, velocities=False)))
    (item,) = read(path)
    np.testing.assert_array_equal(item.plan.segments[0].t, [1.0] * 3)
    assert item.plan.segments[0].joint_vel is None


def test_an_echo_of_several_messages_is_as_many_plans(tmp_path):
    path = tmp_path / "plans.yaml"
    text = yaml.safe_dump(trajectory())
    path.write_text(f"{text}---\n{text}---\n")
    assert [item.plan.message for item in read(path)] == [0, 1]


def test_for_a_truncated_echo_the_error_says_how_to_record_it(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**trajectory(), "points": [*trajectory()["points"], "..."]}))
    (item,) = read(path)
    assert isinstance(item, Unreadable)
    assert "ros2 topic echo --full-length" in item.value


def test_the_object_s_pose_is_read_beside_the_trajectory(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(
        {**robot(trajectory()), "pen_position": [0.4, 0, 0.2], "pen_axis": [0, 0, 1]}
    ))  # fmt: skip
    (item,) = read(path)
    np.testing.assert_array_equal(item.object_pose.position, [0.4, 0.0, 0.2])
    assert item.object_pose.frame_id == "base_link"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"joint_names": ["a"]}, "has 2 positions for 1 joints"),
        ({"points": [{"positions": [1, 2]}]}, "lacks 'time_from_start'"),
        ({"points": [{"positions": ["a", 2], "time_from_start": 0}]}, "could not convert"),
        ({"points": 7}, "not iterable"),
        ({"pen_position": [1], "pen_axis": [1]}, "three numbers each"),
    ],
)
def test_an_inconsistent_trajectory_gives_a_reason(tmp_path, change, words):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**trajectory(), **change}))
    (item,) = read(path)
    assert item.code == "DECODE_ERROR"
    assert words in item.value


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "not readable as json"),
        ("a.json", "[" * 100_000, "not readable as json"),
        ("a.json", '{"a": 1}', "holds no trajectory"),
        ("a.yaml", "a: [", "not readable as yaml"),
        ("a.yaml", "a: &x [1]\nb: *x", "aliases"),
        ("a.yaml", "!!python/object/apply:os.system ['touch owned']", "not readable as yaml"),
        ("a.yaml", "", "holds no trajectory"),
        ("a.yaml", "\x00", "not readable as yaml"),
    ],
)
def test_other_content_is_refused_and_never_executed(tmp_path, monkeypatch, name, text, words):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(JsonYamlError, match=words):
        read(path)
    assert not Path("owned").exists()


def test_other_files_do_not_look_like_trajectories(tmp_path):
    (tmp_path / "params.yaml").write_text("a: 1")
    (tmp_path / "joint_names.txt").write_text("joint_names")
    assert not may_hold_trajectory(tmp_path / "params.yaml")
    assert not may_hold_trajectory(tmp_path / "joint_names.txt")
