"""Training data become demonstrations again, with times from a known rate only."""

from itertools import chain

import numpy as np
import pytest
import zarr

from pipeline.dataset.obstacle_arrays import write_obstacles
from pipeline.layout import Layout
from pipeline.obstacles import sphere
from pipeline.recordings.formats.diffusion_policy_zarr import ZarrRecordingError, is_zarr, read_zarr
from pipeline.recordings.recording import Candidate
from pipeline.recordings.sources import describe_source
from pipeline.validation.validate import validate_recording


def write(path, layout, shift=1, lag=0.0, episodes=2, steps=5, **attributes):
    """Episodes whose action is the position `shift` steps later, and which lag behind it."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    rows, size = episodes * steps, len(layout.joints)
    position = np.linspace(0, 1, rows)[:, None] * np.ones(size)
    values = {
        "joint_pos": position - lag,
        "joint_vel": np.full((rows, size), 0.5),
        "ee_pose": np.zeros((rows, 7)),
        "object_pos": np.full((rows, 3), 0.4),
        "object_axis": np.tile([0.0, 0.0, 1.0], (rows, 1)),
    }
    action = np.concatenate(
        [
            np.concatenate([part[shift:], part[[-1] * shift]])
            for part in np.split(position, episodes)
        ]
    )
    ends = np.arange(1, episodes + 1) * steps
    group.require_group("data").create_array("state", data=layout.pack(values))
    group["data"].create_array("action", data=action.astype(np.float32))
    group.require_group("meta").create_array("episode_ends", data=ends)
    group.attrs.update(attributes)
    return path


@pytest.fixture
def layout(params):
    return Layout.from_params(params)


def read(path, layout, rate=None):
    return list(read_zarr(path, layout, rate, "base_link"))


@pytest.mark.parametrize("shift", [0, 1])
def test_actions_of_the_next_and_of_the_same_step_give_the_same_plan(tmp_path, layout, shift):
    first, second = read(write(tmp_path / "a.zarr", layout, shift), layout, 10.0)
    assert isinstance(first, Candidate)
    assert first.execution is None
    np.testing.assert_allclose(second.plan.segments[0].joint_pos[0], 5 / 9, atol=1e-6)
    np.testing.assert_allclose(second.plan.segments[0].t, np.arange(5) / 10)
    np.testing.assert_allclose(second.object_pose.position, 0.4, atol=1e-6)
    assert second.plan.message == 1
    assert second.derived == ("times from the frame rate",)


def test_states_that_lag_their_commands_are_the_execution(tmp_path, layout):
    first, _ = read(write(tmp_path / "a.zarr", layout, lag=0.01, rate_hz=30.0), layout)
    commands = first.plan.segments[0].joint_pos[:, 0]
    np.testing.assert_allclose(commands[1:], np.arange(1, 5) / 9, atol=1e-6)
    np.testing.assert_allclose(first.execution.joint_pos[:, 0], np.arange(5) / 9 - 0.01, atol=1e-6)
    np.testing.assert_allclose(first.execution.t[1], 1 / 30)


def test_states_that_lag_their_commands_become_the_episode(tmp_path, layout, params, arm):
    """With `ingest.state: planned`, which says what to take from a recording of plans."""
    path = write(tmp_path / "a.zarr", layout, lag=0.01, rate_hz=30.0)
    assert params.ingest.state == "planned"
    source = describe_source(path)
    results = list(chain.from_iterable(validate_recording(source, arm, params)))
    assert [[finding.code for finding in result.findings] for result in results] == [
        ["TIME_DERIVED"], ["TIME_DERIVED"],
    ]  # fmt: skip
    episode = results[0].episode
    np.testing.assert_allclose(episode.joint_pos[:, 0], np.arange(5) / 9 - 0.01, atol=1e-6)
    np.testing.assert_allclose(episode.joint_command[1:, 0], np.arange(1, 5) / 9, atol=1e-6)
    np.testing.assert_allclose(episode.joint_vel, 0.5)


def test_obstacles_of_a_data_set_are_read(tmp_path, layout):
    path = write(tmp_path / "a.zarr", layout, rate_hz=9.0)
    assert [len(each.obstacles.rows) for each in read(path, layout)] == [0, 0]
    rows = [np.zeros((0, 12)), np.stack([sphere([0.3, 0, 0], 0.1), sphere([1, 0, 0], 0.1)])]
    write_obstacles(zarr.open_group(path, mode="a"), rows, "float32", 8)
    for found, expected in zip(read(path, layout), rows, strict=True):
        np.testing.assert_array_equal(found.obstacles.rows, expected.astype(np.float32))
    zarr.open_group(path, mode="a")["meta/obstacle_ends"][...] = [3, 2]
    with pytest.raises(ZarrRecordingError, match="do not decrease"):
        read(path, layout)


def test_a_zarr_without_a_rate_is_refused_until_one_is_given(tmp_path, layout):
    path = write(tmp_path / "a.zarr", layout)
    assert is_zarr(path)
    with pytest.raises(
        ZarrRecordingError, match=r"its times are unknown; set ingest\.frame_rate_hz"
    ):
        read(path, layout)


def test_another_layout_is_named(tmp_path, layout):
    group = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=2)
    group.require_group("data").create_array("state", data=np.zeros((4, 7), np.float32))
    group["data"].create_array("action", data=np.zeros((4, 6), np.float32))
    group.require_group("meta").create_array("episode_ends", data=np.array([4]))
    with pytest.raises(
        ZarrRecordingError, match=r"data/state has shape \(4, 7\), expected \(4, 25\)"
    ):
        read(tmp_path / "b.zarr", layout, 30.0)


@pytest.mark.parametrize("ends", [[3, 2], [], [99]])
def test_impossible_ends_of_episodes_are_refused(tmp_path, layout, ends):
    path = write(tmp_path / "a.zarr", layout)
    group = zarr.open_group(path, mode="a")
    del group["meta/episode_ends"]
    group["meta"].create_array("episode_ends", data=np.array(ends, np.int64))
    with pytest.raises(ZarrRecordingError):
        read(path, layout, 30.0)


def test_a_folder_that_is_not_a_zarr_is_refused(tmp_path, layout):
    (tmp_path / ".zgroup").write_text("{")
    with pytest.raises(ZarrRecordingError, match="not readable as demonstrations"):
        read(tmp_path, layout, 30.0)
