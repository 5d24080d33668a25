"""Results are read from disk as they were written, or not at all."""

from dataclasses import fields, replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.obstacles import sphere
from pipeline.recordings.recording import Source
from pipeline.validation.build_episode import Result
from pipeline.validation.findings import Finding
from pipeline.validation.result_files import (
    ResultFileError,
    concerns_messages,
    is_whole,
    read_results,
    write_results,
)

SOURCE = Source("recordings/one", "0" * 64, "mcap")


def results(episode, salvaged=False):
    """Two batches: episodes of two lengths with and without warnings, only rejections."""
    first = episode()
    origin = replace(
        first.provenance, source=SOURCE.path, sha256=SOURCE.sha256, storage=SOURCE.storage,
        salvaged=salvaged, derived=("pose by FK", "ü"),
    )  # fmt: skip
    first = replace(first, provenance=origin)
    short = replace(
        first, obstacles=np.stack([sphere([1, 2, 3], 0.1), sphere([2, 2, 3], 0.1)]),
        provenance=replace(origin, message=9, segment=2),
        **{name: getattr(first, name)[:7] for name in
           ("t", "joint_pos", "joint_vel", "joint_command", "ee_pose")},
    )  # fmt: skip
    warning = Finding("CUSP", SOURCE.path, 4, 0, "0.3 rad/s", "0.25 rad/s")
    reason = Finding("NO_MOTION", SOURCE.path, 5, None, "0", "0.01 rad")
    return [
        [Result(first, (warning,)), Result(None, (reason,)), Result(short, ())],
        [Result(None, (reason,))],
        [Result(short, ())],
    ]


def test_results_survive_the_round_trip(tmp_path, episode):
    written = results(episode)
    path = tmp_path / "a"
    assert write_results(path, written)
    with path.open("rb") as file:
        assert is_whole(file)
        batches = list(read_results(file, SOURCE))
    assert [len(batch) for batch in batches] == [3, 1, 1]
    for one, other in zip(chain(*written), chain(*batches), strict=True):
        assert one.findings == other.findings
        assert (one.episode is None) == (other.episode is None)
        if one.episode is None:
            continue
        assert other.episode.known_hash == one.episode.content_hash
        for field in fields(one.episode):
            if field.name != "known_hash":
                np.testing.assert_array_equal(
                    getattr(one.episode, field.name), getattr(other.episode, field.name)
                )


def test_results_name_a_recording_by_its_new_name(tmp_path, episode):
    path = tmp_path / "a"
    write_results(path, results(episode))
    with path.open("rb") as file:
        batch = next(read_results(file, replace(SOURCE, path="moved/there")))
    assert {finding.source for each in batch for finding in each.findings} == {"moved/there"}
    assert batch[0].episode.provenance.source == "moved/there"


def test_findings_on_a_whole_recording_are_recognised(tmp_path, episode):
    broken = Result(None, (Finding("BAG_TRUNCATED", "x", None, None, "cut", "whole"),))
    assert not write_results(tmp_path / "a", [*results(episode), [broken]])
    assert concerns_messages(results(episode)[0]) and not concerns_messages([broken])


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_never_complete(tmp_path, episode, data):
    path = tmp_path / "a"
    write_results(path, results(episode))
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    path.write_bytes(raw)
    with path.open("rb") as file:
        assert not is_whole(file)
        with pytest.raises(ResultFileError, match="is damaged"):
            for _ in read_results(file, SOURCE):
                pass
