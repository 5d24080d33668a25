"""Cached results are used exactly as long as nothing that determines them has changed."""

import os
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from pipeline.validation import cache as cache_module
from pipeline.validation.cache import (
    cache_results,
    load_results,
    open_cache,
    remove_oldest,
    stream_results,
)


@pytest.fixture
def recording(tmp_path, params):
    """Writes a motion as an npz file; returns its path."""

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
def cache(tmp_path, keeping, arm):
    return open_cache(tmp_path / "state", keeping, arm, "urdf")


def hashes(batches):
    return [result.episode.content_hash for result in chain(*batches) if result.episode]


def no_reading(monkeypatch):
    monkeypatch.setattr(cache_module, "validate_recording", None)


@pytest.mark.parametrize("way", ["alone", "worker"])
def test_an_unchanged_recording_is_not_read_again(way, monkeypatch, cache, recording, arm, keeping):
    path = recording("traj_1.npz")

    def read():
        if way == "alone":
            return stream_results(cache, path, arm, keeping)
        source, file = cache_results(cache, path, arm, keeping)
        return source, load_results(cache, source, file, arm, keeping)

    source, batches = read()
    first = hashes(batches)
    assert len(first) == 1 and len(list(cache.folder.iterdir())) == 1
    no_reading(monkeypatch)
    again, batches = read()
    assert hashes(batches) == first and again == source
    moved = path.rename(path.with_name("traj_2.npz"))
    source, batches = stream_results(cache, moved, arm, keeping)
    (result,) = next(batches)
    assert result.episode.provenance.source == source.path == moved.as_posix()


def test_everything_that_changes_the_results_changes_their_file(
    monkeypatch, tmp_path, cache, recording, arm, keeping
):
    source, _ = cache_results(cache, recording("traj_1.npz"), arm, keeping)
    places = {cache.path(source)}

    def other(params=keeping, arm=arm, urdf="urdf", source=source):
        made = open_cache(cache.folder, params, arm, urdf)
        place = made.path(source)
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
    monkeypatch.setattr(cache_module, "code_hash", lambda: "other code")
    assert other()


def test_a_changed_recording_is_read_again(cache, recording, arm, keeping):
    path = recording("traj_1.npz")
    first = hashes(stream_results(cache, path, arm, keeping)[1])
    recording("traj_1.npz", scale=0.9)
    assert hashes(stream_results(cache, path, arm, keeping)[1]) != first
    assert len(list(cache.folder.iterdir())) == 2


def test_results_of_a_damaged_recording_are_not_cached(cache, recording, arm, keeping):
    path = recording("traj_1.npz")
    path.write_bytes(path.read_bytes()[:100])
    _, batches = stream_results(cache, path, arm, keeping)
    ((result,),) = batches
    assert result.findings[0].code == "NPZ_UNREADABLE"
    source, file = cache_results(cache, path, arm, keeping)
    ((result,),) = load_results(cache, source, file, arm, keeping)
    assert result.findings[0].code == "NPZ_UNREADABLE"
    assert list(cache.folder.iterdir()) == []


def test_nothing_is_kept_without_a_cache(tmp_path, recording, arm, params):
    none = open_cache(tmp_path / "passing", params, arm, "urdf")
    path = recording("traj_1.npz")
    assert len(hashes(stream_results(none, path, arm, params)[1])) == 1
    source, file = cache_results(none, path, arm, params)
    assert len(hashes(load_results(none, source, file, arm, params))) == 1
    assert list(none.folder.iterdir()) == []


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_recording_is_read_again_if_its_file_is_gone_or_damaged(
    harm, cache, recording, arm, keeping
):
    path = recording("traj_1.npz")
    source, file = cache_results(cache, path, arm, keeping)
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-5])
    assert len(hashes(load_results(cache, source, file, arm, keeping))) == 1
    source, file = cache_results(cache, path, arm, keeping)
    assert len(hashes(load_results(cache, source, file, arm, keeping))) == 1


def test_a_run_that_stops_halfway_leaves_no_file(cache, recording, arm, keeping):
    _, batches = stream_results(cache, recording("traj_1.npz"), arm, keeping)
    next(batches)
    batches.close()
    assert list(cache.folder.iterdir()) == []


def test_the_least_recently_used_files_are_removed_first(cache, recording, arm, keeping):
    files = []
    for index in range(3):
        _, file = cache_results(
            cache, recording(f"traj_{index}.npz", 1 - 0.1 * index), arm, keeping
        )
        os.utime(file, (10**9 + index, 10**9 + index))
        files.append(file)
    old, young = cache.folder / ".partial-old", cache.folder / ".partial-young"
    for path, used in ((old, 10**8), (young, 10**9)):
        path.touch()
        os.utime(path, (used, used))
    remove_oldest(cache.folder, 2.5 * files[0].stat().st_size / 1e9)
    assert sorted(cache.folder.iterdir()) == sorted([*files[1:], young])
    remove_oldest(cache.folder, 0.0)
    assert list(cache.folder.iterdir()) == [young]
