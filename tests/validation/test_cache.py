"""What was read once serves again exactly while nothing that decides it has changed."""

import os
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from pipeline.validation import cache as shelf_module
from pipeline.validation.cache import fill, make_room, make_shelf, pass_on, take


@pytest.fixture
def recording(tmp_path, params):
    """Two motions as npz files' arrays; returns a path that holds one."""

    def write(name, scale=1.0):
        t = np.linspace(0.0, 1.2, 13)
        s = (t / 1.2)[:, None]
        path = tmp_path / name
        np.savez(
            path,
            joint_positions=scale * 0.3 * (3 * s**2 - 2 * s**3) * np.ones(6),
            joint_velocities=scale * 0.3 * (6 * s - 6 * s**2) / 1.2 * np.ones(6),
            timestamps=t,
            ee_poses_world=np.zeros((13, 7)),
            pen_position=np.array([0.4, 0.0, 0.3]),
            pen_axis=np.array([0.0, 0.0, 1.0]),
        )
        return path

    return write


@pytest.fixture
def keeping(params):
    return params.override("ingest", cache_gb=1.0)


@pytest.fixture
def shelf(tmp_path, keeping, arm):
    return make_shelf(tmp_path / "state", keeping, arm, "urdf")


def hashes(batches):
    return [verdict.episode.content_hash for verdict in chain(*batches) if verdict.episode]


def no_reading(monkeypatch):
    monkeypatch.setattr(shelf_module, "harvest", None)


@pytest.mark.parametrize("way", ["alone", "worker"])
def test_an_unchanged_recording_is_not_read_again(way, monkeypatch, shelf, recording, arm, keeping):
    path = recording("traj_1.npz")

    def read():
        if way == "alone":
            return pass_on(shelf, path, arm, keeping)
        source, file = fill(shelf, path, arm, keeping)
        return source, take(shelf, source, file, arm, keeping)

    source, batches = read()
    first = hashes(batches)
    assert len(first) == 1 and len(list(shelf.folder.iterdir())) == 1
    no_reading(monkeypatch)
    again, batches = read()
    assert hashes(batches) == first and again == source
    moved = path.rename(path.with_name("traj_2.npz"))
    source, batches = pass_on(shelf, moved, arm, keeping)
    (verdict,) = next(batches)
    assert verdict.episode.provenance.source == source.path == moved.as_posix()


def test_what_decides_verdicts_decides_the_place(
    monkeypatch, tmp_path, shelf, recording, arm, keeping
):
    source, _ = fill(shelf, recording("traj_1.npz"), arm, keeping)
    places = {shelf.place(source)}

    def other(params=keeping, arm=arm, urdf="urdf", source=source):
        made = make_shelf(shelf.folder, params, arm, urdf)
        place = made.place(source)
        is_new = place not in places
        places.add(place)
        return is_new

    assert not other()
    for idle in ({"workers": 3}, {"mode_gap_rad": 0.1}, {"cache_gb": 9.0}, {"engine": "ray"}):
        assert not other(keeping.override("ingest", **idle))
    assert not other(source=replace(source, path="elsewhere/traj_7.npz"))
    assert other(keeping.override("ingest", min_points=4))
    assert other(keeping.override("task", object="cup"))
    assert other(arm=replace(arm, upper=arm.upper + 1))
    assert other(urdf="another")
    assert other(source=replace(source, sha256="1" * 64))
    assert other(source=replace(source, salvaged=True))
    own = tmp_path / "msgs"
    own.mkdir()
    (own / "A.msg").write_text("float64 a\n")
    with_own = keeping.override("ingest", msg_path=own)
    assert other(with_own) and not other(with_own)
    (own / "A.msg").write_text("float64 b\n")
    assert other(with_own)
    monkeypatch.setattr(shelf_module, "code_hash", lambda: "other code")
    assert other()


def test_a_changed_recording_is_read_anew(shelf, recording, arm, keeping):
    path = recording("traj_1.npz")
    first = hashes(pass_on(shelf, path, arm, keeping)[1])
    recording("traj_1.npz", scale=0.9)
    assert hashes(pass_on(shelf, path, arm, keeping)[1]) != first
    assert len(list(shelf.folder.iterdir())) == 2


def test_what_breaks_off_is_never_kept(shelf, recording, arm, keeping):
    path = recording("traj_1.npz")
    path.write_bytes(path.read_bytes()[:100])
    _, batches = pass_on(shelf, path, arm, keeping)
    ((verdict,),) = batches
    assert verdict.findings[0].code == "NPZ_UNREADABLE"
    source, file = fill(shelf, path, arm, keeping)
    ((verdict,),) = take(shelf, source, file, arm, keeping)
    assert verdict.findings[0].code == "NPZ_UNREADABLE"
    assert list(shelf.folder.iterdir()) == []


def test_nothing_is_kept_where_nothing_may_be(tmp_path, recording, arm, params):
    none = make_shelf(tmp_path / "passing", params, arm, "urdf")
    path = recording("traj_1.npz")
    assert len(hashes(pass_on(none, path, arm, params)[1])) == 1
    source, file = fill(none, path, arm, params)
    assert len(hashes(take(none, source, file, arm, params))) == 1
    assert list(none.folder.iterdir()) == []


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_file_that_another_run_removed_or_that_broke_is_read_anew(
    harm, shelf, recording, arm, keeping
):
    path = recording("traj_1.npz")
    source, file = fill(shelf, path, arm, keeping)
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-5])
    assert len(hashes(take(shelf, source, file, arm, keeping))) == 1
    source, file = fill(shelf, path, arm, keeping)
    assert len(hashes(take(shelf, source, file, arm, keeping))) == 1


def test_a_run_that_stops_half_way_leaves_nothing(shelf, recording, arm, keeping):
    _, batches = pass_on(shelf, recording("traj_1.npz"), arm, keeping)
    next(batches)
    batches.close()
    assert list(shelf.folder.iterdir()) == []


def test_the_longest_unused_go_first_and_leftovers_with_them(shelf, recording, arm, keeping):
    files = []
    for index in range(3):
        _, file = fill(shelf, recording(f"traj_{index}.npz", 1 - 0.1 * index), arm, keeping)
        os.utime(file, (10**9 + index, 10**9 + index))
        files.append(file)
    old, young = shelf.folder / ".partial-old", shelf.folder / ".partial-young"
    for path, used in ((old, 10**8), (young, 10**9)):
        path.touch()
        os.utime(path, (used, used))
    make_room(shelf.folder, 2.5 * files[0].stat().st_size / 1e9)
    assert sorted(shelf.folder.iterdir()) == sorted([*files[1:], young])
    make_room(shelf.folder, 0.0)
    assert list(shelf.folder.iterdir()) == [young]
