"""The team's trajectory files are read by name, and nothing in them is executed."""

import numpy as np
import pytest

from pipeline.obstacles import sphere
from pipeline.recordings.formats.npz import NpzError, read_npz

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        arrays = {
            "joint_positions": np.arange(30.0).reshape(5, 6),
            "joint_velocities": np.ones((5, 6)),
            "timestamps": np.linspace(0, 1, 5),
            "ee_poses_world": np.zeros((5, 7)),
            "pen_position": np.array([0.4, 0.0, 0.2]),
            "pen_axis": np.array([0.0, 0.0, 1.0]),
            **changes,
        }
        path = tmp_path / "traj_0.npz"
        np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
        return path

    return write


def read(path):
    return read_npz(path, JOINTS, "pen", "base_link")


def test_a_file_becomes_a_plan_with_its_object(write):
    candidate = read(write())
    (segment,) = candidate.plan.segments
    assert segment.joint_names == JOINTS
    np.testing.assert_array_equal(segment.joint_pos, np.arange(30.0).reshape(5, 6))
    np.testing.assert_array_equal(segment.joint_vel, 1.0)
    np.testing.assert_array_equal(candidate.object_pose.orientation, [0, 0, 1])
    assert candidate.execution is None


@pytest.mark.parametrize("velocities", [None, np.ones((4, 6))])
def test_velocities_may_be_missing_or_of_another_length(write, velocities):
    assert read(write(joint_velocities=velocities)).plan.segments[0].joint_vel is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pen_axis": None}, "lacks pen_axis; it holds joint_positions"),
        ({"joint_positions": np.zeros((5, 7))}, r"joint_positions has shape \(5, 7\)"),
        ({"joint_positions": np.zeros((4, 6))}, r"expected \(5, 6\)"),
        ({"timestamps": np.zeros((5, 1))}, "timestamps has shape"),
        ({"pen_position": np.zeros(2)}, "pen_position has shape"),
        ({"obstacles": np.zeros((2, 7))}, r"traj_0.npz: obstacles have shape \(2, 7\)"),
        ({"obstacles": np.full((2, 12), np.nan)}, "expected finite numbers"),
        ({"timestamps": np.array([{}, 1, 2, 3, 4], object)}, "not readable"),
        ({"timestamps": np.array(list("abcde"))}, "not readable"),
    ],
)
def test_a_file_with_wrong_arrays_is_refused(write, changes, message):
    with pytest.raises(NpzError, match=message):
        read(write(**changes))


def test_obstacles_are_optional(write):
    assert read(write()).obstacles is None
    rows = np.stack([sphere([x, 0, 0], 0.1) for x in range(2)])
    np.testing.assert_array_equal(read(write(obstacles=rows)).obstacles.rows, rows)
    assert read(write(obstacles=[])).obstacles.rows.shape == (0, 12)


def test_a_truncated_file_is_refused(write):
    path = write()
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(NpzError, match="not readable"):
        read(path)


def test_a_single_array_and_a_missing_file_are_refused(tmp_path):
    with (tmp_path / "traj_1.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(NpzError, match="single array"):
        read(tmp_path / "traj_1.npz")
    with pytest.raises(NpzError, match="not readable"):
        read(tmp_path / "traj_2.npz")
