"""What ingest accepted and rejected can be looked at, with the reasons."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset.zarr_arrays import StoreError
from pipeline.params import Params
from pipeline.play.episodes import EpisodesError, MotionReader, groups, read_trajectories
from pipeline.play.motion import Motion


def test_accepted_and_rejected_ones_are_listed_with_their_reasons(
    params: Params, ingested: Path
) -> None:
    found = read_trajectories(ingested, params)
    assert [(each.message, each.codes) for each in found] == [
        (0, ()),
        (2, ()),
        (1, ("TIME_ALL_ZERO",)),
        (3, ("FRAME_UNRESOLVED",)),
        (4, ("JOINT_MISSING",)),
    ]
    [reason] = found[2].reasons
    assert "13 points at 0 s, expected rising times; add time parameterisation" in reason
    listed = groups(found)
    assert list(listed) == [
        "accepted (2)", "rejected (3)", "TIME_ALL_ZERO, rejected (1)",
        "FRAME_UNRESOLVED, rejected (1)", "JOINT_MISSING, rejected (1)",
    ]  # fmt: skip
    assert listed["FRAME_UNRESOLVED, rejected (1)"] == [found[3]]


def test_motions_of_rejected_ones_are_drawn_as_far_as_possible(
    params: Params, ingested: Path
) -> None:
    found = read_trajectories(ingested, params)
    reader = MotionReader(params, found)
    assert reader.is_ready(found[0]) and not reader.is_ready(found[2])
    good, times, frame, names = (reader.motion(found[index]) for index in (0, 2, 3, 4))
    assert reader.is_ready(found[4])
    assert isinstance(good, Motion) and good.object_pose is not None
    assert good.times[-1] == pytest.approx(1.2)
    # Without times its points come one after the other.
    assert isinstance(times, Motion) and times.times == pytest.approx(np.arange(13) * 0.1)
    assert times.object_pose is not None
    assert times.joint_pos[-1, 0] == pytest.approx(0.4 * 1.1)
    assert isinstance(frame, Motion) and frame.object_pose is None
    assert isinstance(names, str) and "cannot be matched" in names


def test_a_recording_that_is_gone_costs_only_the_pictures_of_rejected_ones(
    params: Params, ingested: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "ingest"
    shutil.copytree(ingested, copied)
    report = (copied / "report.json").read_text()
    (copied / "report.json").write_text(report.replace(str(ingested.parent), str(tmp_path)))
    found = read_trajectories(copied, params)
    reader = MotionReader(params, found)
    assert isinstance(reader.motion(found[0]), Motion)
    assert reader.motion(found[2]) == f"message 1 of {tmp_path}/bag cannot be read"


def test_a_folder_that_ingest_did_not_write_is_refused(
    params: Params, ingested: Path, tmp_path: Path
) -> None:
    with pytest.raises(EpisodesError, match=r"report\.json: .*run ingest"):
        read_trajectories(tmp_path, params)
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(EpisodesError, match="run ingest"):
        read_trajectories(tmp_path, params)
    shutil.copy(ingested / "report.json", tmp_path)
    with pytest.raises(StoreError):
        read_trajectories(tmp_path, params)
