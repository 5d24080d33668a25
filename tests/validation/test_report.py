"""Counts add up by source, and duplicates are found in every source."""

import json

import numpy as np
import pytest

from pipeline.obstacles import sphere
from pipeline.recordings.recording import Source
from pipeline.validation.build_episode import Result
from pipeline.validation.findings import Finding
from pipeline.validation.report import IngestReport

ONE, TWO = Source("one", "0" * 64, "mcap"), Source("two", "1" * 64, "npz", salvaged=True)


def bad(code="NO_MOTION"):
    return Result(None, (Finding(code, "one", 3, 0, "0.001 rad", "0.01 rad"),))


@pytest.fixture
def report(episode):
    report = IngestReport()
    warning = Finding("VEL_DERIVED", "one", 3, 0, "none", "some")
    moved = episode(object_pos=np.array([0.5, 0.0, 0.2]))
    assert report.add(Result(episode(), (warning,)), ONE) is not None
    assert report.add(bad(), ONE) is None
    report.finish_source(ONE)
    assert report.add(Result(episode(), ()), TWO) is None
    assert report.add(Result(moved, ()), TWO) is moved
    assert report.add(bad("BAG_TRUNCATED"), TWO) is None
    report.finish_source(TWO)
    return report


def test_every_source_has_its_counts(report):
    written = json.loads(json.dumps(report.to_dict(None, "planned", {})))
    assert written["totals"] == {"accepted": 2, "warned": 1, "rejected": 3}
    assert [(s["accepted"], s["rejected"], s["salvaged"]) for s in written["sources"]] == [
        (1, 1, False), (1, 2, True),
    ]  # fmt: skip
    assert written["sources"][1]["codes"] == {"BAG_TRUNCATED": 1, "DUPLICATE": 1}
    assert written["codes"] == {
        "BAG_TRUNCATED": 1, "DUPLICATE": 1, "NO_MOTION": 1, "VEL_DERIVED": 1,
    }  # fmt: skip
    assert written["samples"]["sum"] == 26
    assert written["modes"] is None


def test_obstacles_are_counted_where_there_are_any(report, episode):
    assert "obstacles" not in report.to_dict(None, "planned", {})
    for number in (2, 1):
        rows = np.stack([sphere([x, 0, 0], 0.1) for x in range(number)])
        report.add(Result(episode(obstacles=rows), ()), ONE)
    assert report.to_dict(None, "planned", {})["obstacles"] == {"episodes": 2, "most": 2}


def test_the_report_gives_the_hint_of_a_warning_once(report):
    written = report.to_dict(None, "planned", {})
    assert set(written["hints"]) == {"BAG_TRUNCATED", "DUPLICATE", "NO_MOTION", "VEL_DERIVED"}
    keys = ["code", "source", "message", "segment", "value", "limit", "hint"]
    assert all(list(rejection) == keys for rejection in written["rejections"])
    assert not any("hint" in warning for warning in written["warnings"])


def test_a_duplicate_names_the_first(report):
    (duplicate,) = (finding for finding in report.rejections if finding.code == "DUPLICATE")
    assert duplicate.source == "two"
    assert duplicate.value == "the same as message 3 of one"


def test_bad_files_differ_from_bad_trajectories(report):
    assert [finding.code for finding in report.bad_files] == ["BAG_TRUNCATED"]


def test_reasons_come_with_an_example_and_a_hint(report):
    assert report.most_common(1)[0][1] == 1
    assert "1 × NO_MOTION (for instance 0.001 rad, expected 0.01 rad; " in report.reasons(3)


def test_ways_are_counted_among_accepted_episodes_alone(report):
    assert IngestReport().modes(("a",), lambda path: path, 8, 0.5) is None
    assert report.modes(("a",), lambda path: path, 8, 0.5) is None
