"""Tests the text of findings and the totals of reports."""

from __future__ import annotations

import numpy as np

from pipeline.runtime.guard.findings import VERDICTS, Finding, GuardReport


def test_a_finding_names_verdict_pair_and_clearance() -> None:
    assert str(Finding("free")) == "free"
    assert str(Finding("held", "link_4", "table", -0.0021)) == "held: link_4 -2.1 mm from table"


def test_a_report_sums_over_robots() -> None:
    counts = {verdict: np.array([1, 2]) for verdict in VERDICTS}
    report = GuardReport(counts, (Finding("free"),) * 2, (Finding("free"),) * 2)
    assert report.total() == dict.fromkeys(VERDICTS, 3)
