"""Counts add up by source, and a twin is found wherever the first one stands."""

import json

import numpy as np
import pytest

from pipeline.recordings.recording import Source
from pipeline.validation.build_episode import Verdict
from pipeline.validation.findings import Finding
from pipeline.validation.report import Tally

ONE, TWO = Source("one", "0" * 64, "mcap"), Source("two", "1" * 64, "npz", salvaged=True)


def bad(code="NO_MOTION"):
    return Verdict(None, (Finding(code, "one", 3, 0, "0.001 rad", "0.01 rad"),))


@pytest.fixture
def tally(episode):
    tally = Tally()
    warning = Finding("VEL_DERIVED", "one", 3, 0, "none", "some")
    moved = episode(object_pos=np.array([0.5, 0.0, 0.2]))
    assert tally.take(Verdict(episode(), (warning,)), ONE) is not None
    assert tally.take(bad(), ONE) is None
    tally.close_source(ONE)
    assert tally.take(Verdict(episode(), ()), TWO) is None
    assert tally.take(Verdict(moved, ()), TWO) is moved
    assert tally.take(bad("BAG_TRUNCATED"), TWO) is None
    tally.close_source(TWO)
    return tally


def test_every_source_has_its_counts(tally):
    report = json.loads(json.dumps(tally.report(None, "planned", {})))
    assert report["totals"] == {"accepted": 2, "warned": 1, "rejected": 3}
    assert [(s["accepted"], s["rejected"], s["salvaged"]) for s in report["sources"]] == [
        (1, 1, False), (1, 2, True),
    ]  # fmt: skip
    assert report["sources"][1]["codes"] == {"BAG_TRUNCATED": 1, "DUPLICATE": 1}
    assert report["codes"] == {
        "BAG_TRUNCATED": 1, "DUPLICATE": 1, "NO_MOTION": 1, "VEL_DERIVED": 1,
    }  # fmt: skip
    assert report["samples"]["sum"] == 26
    assert report["modes"] is None


def test_hints_of_warnings_stand_once(tally):
    report = tally.report(None, "planned", {})
    assert set(report["hints"]) == {"BAG_TRUNCATED", "DUPLICATE", "NO_MOTION", "VEL_DERIVED"}
    keys = ["code", "source", "message", "segment", "value", "limit", "hint"]
    assert all(list(rejection) == keys for rejection in report["rejections"])
    assert not any("hint" in warning for warning in report["warnings"])


def test_a_twin_names_the_first(tally):
    (twin,) = (finding for finding in tally.rejections if finding.code == "DUPLICATE")
    assert twin.source == "two"
    assert twin.value == "the same as message 3 of one"


def test_bad_files_are_told_from_bad_trajectories(tally):
    assert [finding.code for finding in tally.bad_files] == ["BAG_TRUNCATED"]


def test_reasons_come_with_an_example_and_a_hint(tally):
    assert tally.commonest(1)[0][1] == 1
    assert "1 × NO_MOTION (for instance 0.001 rad, expected 0.01 rad; " in tally.reasons(3)


def test_ways_are_asked_of_the_accepted_alone(tally):
    assert Tally().modes(("a",), lambda path: path, 8, 0.5) is None
    assert tally.modes(("a",), lambda path: path, 8, 0.5) is None
