"""The table shows the content of an artefact, and what is not known of it."""

import numpy as np
import pytest
import zarr
from numcodecs import Blosc

from pipeline.dataset.obstacle_arrays import write_obstacles
from pipeline.dataset.zarr_arrays import StoreError, create_array, create_group
from pipeline.layout import Layout
from pipeline.obstacles import sphere
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.stages import info


@pytest.fixture
def shown(params, capsys, monkeypatch):
    """The rows that `info` prints for a path."""
    monkeypatch.setattr(info.console, "width", 200)

    def shown(path):
        info.run(path, params)
        rows = capsys.readouterr().out.splitlines()
        cells = [[cell.strip() for cell in row.strip("│┃ ").split("│")] for row in rows]
        return {row[0]: row[1:] for row in cells if len(row) > 1}

    return shown


def test_the_team_s_own_form_is_shown_as_their_guide_shows_it(tmp_path, shown):
    rng = np.random.default_rng(0)
    group = zarr.open_group(tmp_path / "pen_grasp.zarr", mode="w", zarr_format=2)
    blosc = Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)
    for name, width in (("state", 25), ("action", 6)):
        array = group.require_group("data").create_array(
            name, shape=(55_278, width), chunks=(1000, width), dtype="float32", compressors=blosc
        )
        array[...] = rng.normal(size=(55_278, width))
    ends = np.append(np.arange(1, 935) * 59, 55_278)
    group.require_group("meta").create_array("episode_ends", data=ends)
    group.attrs.update(
        {
            "state_dim": 25,
            "action_dim": 6,
            "num_episodes": 935,
            "total_timesteps": 55_278,
            "metadata": {"robot": "Doosan E0509", "task": "pen grasp"},
        }
    )
    table = shown(tmp_path / "pen_grasp.zarr")
    assert table["episodes"] == ["935"]
    assert table["steps"][0].startswith("55,278 (")
    assert table["state"] == [
        "25: joint_pos[6] + joint_vel[6] + ee_pose[7] + pen_pos[3] + pen_axis[3]"
    ]
    assert table["action"][0].startswith("6: ")
    assert table["size"][0].endswith(" MB")
    assert table["rate"] == ["unknown: the data set does not say"]
    assert table["split"][0].startswith("none stored; by content and params.yaml: train 7")
    assert table["statistics"] == ["none stored"]
    assert table["robot"] == ["Doosan E0509"]


def test_a_data_set_of_the_pipeline_is_shown_by_its_own_layout(tmp_path, params, shown):
    layout = Layout.build(("a", "b"), "cup", ("joint_pos", "object_pos"))
    group = create_group(tmp_path / "cup.zarr", 3)
    for name, values in (
        ("data/state", np.zeros((6, 5), np.float32)),
        ("data/action", np.zeros((6, 2), np.float32)),
        ("meta/episode_ends", np.array([2, 4, 6])),
        ("meta/split", np.array([0, 1, 0], np.int8)),
    ):
        create_array(group, name, values.shape, values.dtype.name, 8)[...] = values
    group.attrs.update({"layout": layout.to_dict(), "rate_hz": 25.0, "metadata": "none"})
    table = shown(tmp_path / "cup.zarr")
    assert "obstacles" not in table
    assert table["state"] == ["5: joint_pos[2] + cup_pos[3]"]
    assert table["rate"] == ["25 Hz"]
    assert table["split"] == ["train 2, val 1, test 0"]
    assert table["layout"] == [layout.fingerprint]
    write_obstacles(group, [sphere([1, 0, 0], 1)[None]] * 2 + [np.zeros((0, 12))], "float32", 8)
    assert shown(tmp_path / "cup.zarr")["obstacles"] == ["in 2 of 3 episodes, at most 1 in one"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recording_is_shown_by_topic(tmp_path, shown, storage):
    with BagWriter(tmp_path / "bag", storage) as bag:
        for index in range(1200):
            bag.joint_state(index * 10_000_000, ["a"], np.zeros(1), np.zeros(1))
    assert shown(tmp_path / "bag")["/joint_states"] == [
        "sensor_msgs/msg/JointState",
        "1,200",
        "100",
        "joints, by ingest.joint_topic",
    ]


def test_a_folder_of_recordings_is_shown_one_by_one(tmp_path, params, capsys):
    for name in ("day_1/bag", "day_2/bag"):
        with BagWriter(tmp_path / name, "mcap") as bag:
            bag.joint_state(0, ["a"], np.zeros(1), np.zeros(1))
    (tmp_path / "day_3").mkdir()
    np.savez(tmp_path / "day_3/traj_0.npz", a=np.zeros(1))
    info.run(tmp_path, params)
    said = capsys.readouterr().out
    assert said.count("/joint_states") == 2 and "1 trajectories in files" in said


def test_a_damaged_recording_does_not_hide_the_others(tmp_path, params, capsys):
    for name in ("day_1", "day_2"):
        with BagWriter(tmp_path / name, "mcap") as bag:
            bag.joint_state(0, ["a"], np.zeros(1), np.zeros(1))
    (tmp_path / "day_1/day_1.mcap").write_bytes(b"no")
    with pytest.raises(info.InfoError, match=r"1 of 2 recordings cannot be shown:\n.*day_1"):
        info.run(tmp_path, params)
    assert capsys.readouterr().out.count("/joint_states") == 1


def test_a_checkpoint_is_shown_with_its_configuration(tmp_path, params, shown):
    import torch

    from pipeline.policy.checkpoint import Checkpoint, make_config, save_checkpoint
    from pipeline.policy.model import PolicyModel
    from pipeline.robot.chain import policy_geometry
    from pipeline.robot.model import RobotModel

    layout = Layout.from_params(params)
    policy = params.override("policy", mlp_width=16, mlp_blocks=1).policy
    geometry = policy_geometry(RobotModel.from_params(params.robot), params.task)
    model = PolicyModel(policy, layout, geometry)
    weights = model.state_dict()
    config = make_config(policy, layout, geometry, 30.0)
    checkpoint = Checkpoint(weights, weights, config, {}, layout, torch.zeros(1))
    save_checkpoint(tmp_path / "best_model.pt", checkpoint)
    table = shown(tmp_path / "best_model.pt")
    assert table["obstacles"] == ["sees none"]
    assert table["parameters"] == [f"{sum(p.numel() for p in model.parameters()):,}"]
    assert table["horizon"] == ["16"]
    assert table["policy.mlp_width"] == ["16"]
    assert table["layout"] == [layout.fingerprint]


def test_a_checkpoint_says_how_many_obstacles_the_policy_sees(tmp_path, params, shown):
    from pipeline.policy.checkpoint import save_checkpoint
    from tests.fixtures.policy import make_checkpoint

    small = params.override("policy", mlp_width=16, mlp_blocks=1)
    save_checkpoint(tmp_path / "model.pt", make_checkpoint(small, Layout.from_params(params), 4))
    assert shown(tmp_path / "model.pt")["obstacles"] == ["sees 4 at most"]


def test_an_unknown_kind_of_file_is_refused(tmp_path, params):
    (tmp_path / "notes.txt").touch()
    for name in ("notes.txt", "."):
        with pytest.raises(info.InfoError, match="expected a training zarr, a checkpoint"):
            info.run(tmp_path / name, params)
    with pytest.raises(info.InfoError, match="no such file or folder"):
        info.run(tmp_path / "nothing", params)


def test_a_zarr_that_is_no_data_set_is_refused(tmp_path, params):
    create_group(tmp_path / "x.zarr", 2)
    with pytest.raises(StoreError, match=r"data/state is missing.*it holds nothing"):
        info.run(tmp_path / "x.zarr", params)
