"""Recordings become episodes and a report; a bad one does not affect the others."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset.episode_store import read_episodes
from pipeline.errors import PipelineError
from pipeline.recordings import sources
from pipeline.recordings.rosbag.reader import open_bag
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.stages import ingest
from pipeline.validation import shards

UP = np.array([0.0, 0.0, 0.0, 1.0])
BENDS = ("times", "frame", "degrees", "pose", "twin")


def motion(home, index, points=13):
    """A motion from home to a goal of its own. Shapes (P,), (P, J), (P, J)."""
    t = np.linspace(0.0, 1.2, points)
    s = t / t[-1]
    reach = np.array([0.4, 0.3, -0.2, 0.1, -0.3, 0.2]) * (1 + 0.1 * index)
    position = home + reach * (3 * s**2 - 2 * s**3)[:, None]
    return t, position, reach * (6 * s - 6 * s**2)[:, None] / t[-1]


def record(path, params, good=4, bad=(), storage="mcap"):
    """A bag of `good` plans, executed exactly, and then the bad ones."""
    joints, home = params.robot.joints, np.array(params.robot.home_rad)
    path.parent.mkdir(parents=True, exist_ok=True)
    with BagWriter(path, storage) as bag:
        for index, bend in enumerate([None] * good + list(bad)):
            start = (index + 1) * 10 * 10**9
            t, position, velocity = motion(home, 0 if bend == "twin" else index)
            place = np.array([0.4, 0.0 if bend == "twin" else 0.01 * index, 0.2])
            if bend != "pose":
                frame = "camera" if bend == "frame" else "base_link"
                bag.object_pose(start, frame, place, UP)
            bag.plan(
                start,
                joints,
                t * 0 if bend == "times" else t,
                np.rad2deg(position) if bend == "degrees" else position,
                velocity,
                velocity,
                home,
            )
            for sample in range(100):
                at = np.clip(sample * 0.02, 0, 1.2)
                now = [np.interp(at, t, position[:, joint]) for joint in range(len(joints))]
                bag.joint_state(start + 1 + sample * 20_000_000, joints, now, np.zeros(6))
    return path


def report_of(out):
    return json.loads((out / "report.json").read_text())


def test_good_plans_become_episodes_with_a_report(tmp_path, params):
    source = record(tmp_path / "bag", params)
    ingest.run(params, tmp_path / "out", source)
    episodes = list(read_episodes(tmp_path / "out/episodes.zarr", params.robot.joints, "pen"))
    assert len(episodes) == 4
    t, position, _ = motion(np.array(params.robot.home_rad), 2)
    np.testing.assert_allclose(episodes[2].t, t, atol=1e-8)
    np.testing.assert_array_equal(episodes[2].joint_pos, position)
    np.testing.assert_array_equal(episodes[2].object_pos, [0.4, 0.02, 0.2])
    report = report_of(tmp_path / "out")
    assert report["totals"] == {"accepted": 4, "warned": 0, "rejected": 0}
    assert report["samples"] == {"sum": 52.0, "min": 13.0, "median": 13.0, "max": 13.0}
    assert report["duration_s"]["max"] == pytest.approx(1.2)
    assert report["sources"][0]["storage"] == "mcap"


def test_both_storages_give_the_same_episodes(tmp_path, params):
    hashes = []
    for storage in ("mcap", "sqlite3"):
        source = record(tmp_path / storage / "bag", params, storage=storage)
        ingest.run(params, tmp_path / storage / "out", source)
        path = tmp_path / storage / "out/episodes.zarr"
        episodes = read_episodes(path, params.robot.joints, "pen")
        hashes.append([episode.content_hash for episode in episodes])
    assert hashes[0] == hashes[1]


def test_bad_plans_are_rejected_with_their_reasons_and_the_rest_is_kept(tmp_path, params, capsys):
    source = record(tmp_path / "bag", params, good=6, bad=BENDS)
    ingest.run(params, tmp_path / "out", source)
    report = report_of(tmp_path / "out")
    assert report["totals"] == {"accepted": 6, "warned": 0, "rejected": 5}
    assert [(entry["code"], entry["message"]) for entry in report["rejections"]] == [
        ("TIME_ALL_ZERO", 6),
        ("FRAME_UNRESOLVED", 7),
        ("SUSPECT_DEGREES", 8),
        ("OBJECT_POSE_STALE", 9),
        ("DUPLICATE", 10),
    ]
    assert all(entry["hint"] and entry["limit"] for entry in report["rejections"])
    assert "DUPLICATE" in capsys.readouterr().out


def test_measured_joints_become_the_state_when_asked_for(tmp_path, params):
    source = record(tmp_path / "bag", params)
    ingest.run(params.override("ingest", state="measured"), tmp_path / "out", source)
    episodes = list(read_episodes(tmp_path / "out/episodes.zarr", params.robot.joints, "pen"))
    assert [len(episode.t) for episode in episodes] == [100] * 4
    end = motion(np.array(params.robot.home_rad), 3)[1][-1]
    np.testing.assert_allclose(episodes[3].joint_command[-1], end)


def test_a_folder_of_bags_and_files_is_read_and_a_damaged_one_named(tmp_path, params):
    record(tmp_path / "all/day_1", params)
    cut = record(tmp_path / "all/day_2", params, good=5) / "day_2.mcap"
    cut.write_bytes(cut.read_bytes()[:-50])
    t, position, velocity = motion(np.array(params.robot.home_rad), 9)
    np.savez(
        tmp_path / "all/traj_0001.npz",
        joint_positions=position,
        joint_velocities=velocity,
        timestamps=t,
        ee_poses_world=np.zeros((13, 7)),
        pen_position=np.array([0.4, 0.0, 0.3]),
        pen_axis=np.array([0.0, 0.0, 1.0]),
    )
    with pytest.raises(ingest.IngestError, match=r"1 of 3 recordings.*day_2.*allow_bad_files"):
        ingest.run(params, tmp_path / "out", tmp_path / "all")
    ingest.run(params.override("ingest", allow_bad_files=True), tmp_path / "out", tmp_path / "all")
    report = report_of(tmp_path / "out")
    assert report["totals"] == {"accepted": 5, "warned": 0, "rejected": 1}
    assert report["rejections"][0]["code"] == "BAG_TRUNCATED"
    assert [entry["accepted"] for entry in report["sources"]] == [4, 0, 1]


def test_too_many_rejections_fail_and_leave_the_last_output_alone(tmp_path, params):
    out = tmp_path / "out"
    ingest.run(params, out, record(tmp_path / "good", params))
    before = (out / "report.json").read_bytes()
    bad = record(tmp_path / "bad", params, good=1, bad=["times", "times", "frame"])
    with pytest.raises(ingest.IngestError, match=r"3 of 4 .*2 × TIME_ALL_ZERO.*1 × FRAME_UNRES"):
        ingest.run(params, out, bad)
    assert (out / "report.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good", "out"]
    ingest.run(params.override("ingest", max_reject_fraction=0.75), out, bad)
    assert report_of(out)["totals"]["accepted"] == 1


def test_nothing_accepted_fails_with_the_reason(tmp_path, params):
    empty = tmp_path / "empty"
    with BagWriter(empty, "mcap") as bag:
        bag.object_pose(0, "base_link", np.zeros(3), UP)
    with pytest.raises(ingest.IngestError, match=r"none of 1 .*BAG_EMPTY.*ingest\.plan_topic"):
        ingest.run(params, tmp_path / "out", empty)
    assert not (tmp_path / "out").exists()


def test_a_missing_source_fails_with_what_was_expected(tmp_path, params):
    with pytest.raises(PipelineError, match=r"no such recording; expected a rosbag2 folder"):
        ingest.run(params, tmp_path / "out", tmp_path / "nothing")


def test_the_same_recording_gives_the_same_bytes(tmp_path, params):
    source = record(tmp_path / "bag", params, bad=["times"])
    for name in ("one", "two"):
        ingest.run(params, tmp_path / name, source)
    one, two = tmp_path / "one", tmp_path / "two"
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) > 9
    assert all((one / path).read_bytes() == (two / path).read_bytes() for path in files)


def test_a_bag_that_was_cut_off_is_salvaged_on_request_and_marked(tmp_path, params):
    source = record(tmp_path / "bag", params, good=6)
    file = source / "bag.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(ingest.IngestError, match=r"cut off or damaged.*ingest\.salvage"):
        ingest.run(params, tmp_path / "out", source)
    ingest.run(params.override("ingest", salvage=True), tmp_path / "out", source)
    report = report_of(tmp_path / "out")
    assert 0 < report["totals"]["accepted"] < 6
    assert report["totals"]["warned"] == report["totals"]["accepted"]
    assert report["codes"]["SALVAGED"] == report["totals"]["accepted"]
    assert report["sources"][0]["salvaged"]
    episodes = read_episodes(tmp_path / "out/episodes.zarr", params.robot.joints, "pen")
    assert all(episode.provenance.salvaged for episode in episodes)


def test_several_sources_are_counted_apart_and_shown(tmp_path, params, capsys):
    paths = [record(tmp_path / name, params, good=number)
             for name, number in (("one", 3), ("two", 5))]  # fmt: skip
    ingest.run(params, tmp_path / "out", paths)
    report = report_of(tmp_path / "out")
    assert [(s["accepted"], s["rejected"]) for s in report["sources"]] == [(3, 0), (2, 3)]
    assert report["sources"][1]["codes"] == {"DUPLICATE": 3}
    assert "3 × DUPLICATE" in capsys.readouterr().out
    listed = params.override("ingest", source=[str(path) for path in paths])
    ingest.run(listed, tmp_path / "again")
    assert report_of(tmp_path / "again")["totals"] == report["totals"]


def test_copies_of_a_good_recording_are_rejected_and_do_not_fail_the_stage(tmp_path, params):
    record(tmp_path / "all/one", params)
    for name in ("two", "three"):
        shutil.copytree(tmp_path / "all/one", tmp_path / "all" / name)
    ingest.run(params, tmp_path / "out", tmp_path / "all")
    report = report_of(tmp_path / "out")
    assert report["totals"] == {"accepted": 4, "warned": 0, "rejected": 8}
    assert report["codes"] == {"DUPLICATE": 8}


def test_every_recording_is_opened_once(tmp_path, params, monkeypatch):
    """A bag that is compressed as a whole is unpacked each time that it is opened."""
    source = record(tmp_path / "bag", params)
    opened = []
    monkeypatch.setattr(sources, "open_bag", lambda *a, **k: opened.append(a) or open_bag(*a, **k))
    ingest.run(params.override("ingest", workers=1), tmp_path / "out", source)
    assert len(opened) == 1


def test_the_report_says_how_many_ways_lead_to_similar_goals(tmp_path, params, capsys):
    source = record(tmp_path / "bag", params, good=24)
    ingest.run(params, tmp_path / "out", source)
    modes = report_of(tmp_path / "out")["modes"]
    assert modes["episodes"] == 24
    assert len(modes["joint_spread_rad"]) == 6
    assert modes["free_joints"] == ["joint_6"]
    assert "Ways to similar goals" in capsys.readouterr().out
    assert (tmp_path / "out" / "histograms.png").stat().st_size > 1000


ROOT = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
real = pytest.mark.skipif(not ROOT.is_dir(), reason="recordings of other projects are not at hand")


@real
def test_a_real_ros_1_bag_of_other_joints_is_refused_by_name(tmp_path, params):
    source = ROOT / "plotjuggler" / "datasamples" / "fake_joint_state.bag"
    with pytest.raises(ingest.IngestError, match=r"1 × JOINT_MISSING.*joint_0.*without joint_6"):
        ingest.run(params, tmp_path / "out", source)


@real
@pytest.mark.parametrize(
    "name",
    [
        "plotjuggler/datasamples/rosbag2_test",
        "plotjuggler/datasamples/tilt_laser.bag",
        "rosbag2_testbags/rosbag2_py/test/resources/mcap/wbag",
        "rosbag2_testbags/rosbag2_py/test/resources/sqlite3/talker",
        "rosbag2_testbags/rosbag2_cpp/test/rosbag2_cpp/bags/only_services.mcap",
        "rosbag2_testbags/rosbag2_tests/resources/mcap/wrong_rmw_test",
        "rosbag2_testbags/rosbag2_tests/resources/sqlite3/wrong_rmw_test",
    ],
)
def test_real_bags_without_joints_are_refused_with_what_they_hold(tmp_path, params, name):
    words = (
        r"none of 1 .*BAG_EMPTY.*holds no plans, controller states or joint states.*it holds /?\w"
    )
    with pytest.raises(ingest.IngestError, match=words):
        ingest.run(params, tmp_path / "out", ROOT / name)
    assert not (tmp_path / "out").exists()


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_workers_and_the_cache_do_not_change_a_byte(tmp_path, params, monkeypatch):
    """Two bags with duplicates and a damaged one: in one process, in two, and cached."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    monkeypatch.setattr(shards, "SHARD_BYTES", 0)  # as if each were large
    record(tmp_path / "all/day_1", params, bad=BENDS)
    cut = record(tmp_path / "all/day_2", params, good=5) / "day_2.mcap"
    cut.write_bytes(cut.read_bytes()[:-50])
    record(tmp_path / "all/day_3", params, good=6)
    source = tmp_path / "all"
    lenient = {"allow_bad_files": True, "max_reject_fraction": 1.0}
    made = []
    for number, rules in enumerate(
        [{"workers": 1}, {"workers": 2}, {"workers": 2, "cache_gb": 1.0},
         {"workers": 2, "cache_gb": 1.0}, {"workers": 1, "cache_gb": 1.0}]
    ):  # fmt: skip
        out = tmp_path / str(number)
        ingest.run(params.override("ingest", **lenient, **rules), out, source)
        made.append(files_of(out))
    assert all(files == made[0] for files in made[1:])
    kept = list((tmp_path / "repository/.state/ingest").iterdir())
    assert len(kept) == 2  # the broken one is read anew each time


def test_a_missing_ray_is_named(tmp_path, params):
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("Ray is installed")
    source = record(tmp_path / "bag", params)
    with pytest.raises(PipelineError, match="pip install ray"):
        ingest.run(params.override("ingest", engine="ray"), tmp_path / "out", source)
    assert not (tmp_path / "out").exists()
