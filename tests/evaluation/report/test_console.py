"""What `evaluate` prints: the headline first, with its interval."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.evaluation.report.console import (
    print_backends,
    print_closed_loop,
    print_fallback,
    print_grasp,
    print_robustness,
)
from pipeline.evaluation.robustness import Condition, Outcome
from pipeline.run import console

ROW: dict[str, Any] = {
    "n": 200, "success_collision_free": 0.92, "ci95_collision_free": [0.874, 0.950],
    "success_strict": 0.98, "ci95_strict": [0.95, 0.992], "contact_free": 0.94,
    "success_5mm": 0.90, "success_team": 1.0, "error_mm_median": 0.75, "error_mm_p95": 2.0,
}  # fmt: skip
OPEN_LOOP = {
    "windows": 7, "episodes": 2, "joint_rmse_deg": 0.5, "ee_rmse_mm": 10.4, "ee_rmse_deg": 1.3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 80)


def test_the_headline_is_strict_and_free_of_contact(capsys: pytest.CaptureFixture[str]) -> None:
    print_closed_loop({"policy": ROW, "stand_still": {**ROW, "success_strict": 0.0}}, OPEN_LOOP)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Strict and free of contact: 92.0% of 200, 95 % interval 87.4–95.0")
    (policy,) = [line.split() for line in lines if line.strip().startswith("policy")]
    assert policy == ["policy", "92.0", "87.4–95.0", "98.0", "94.0", "90.0", "100.0", "0.8", "2.0"]
    assert any("stand still" in line for line in lines)
    assert len(next(line for line in lines if "policy" in line)) <= 80


def test_backends_that_did_not_run_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    driven = {**ROW, "status": "driven", "max_joint_difference_rad": 1.3e-5}
    print_backends({"torch": driven, "tensorrt": {"status": "not here", "reason": "no GPU"}})
    printed = capsys.readouterr().out
    assert "tensorrt was not run: no GPU" in printed
    assert "92.0 87.4–95.0" in printed and "1.3e-05 rad" in printed


def test_every_condition_and_the_grasp_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_robustness([])
    assert capsys.readouterr().out == ""
    print_robustness([Outcome(Condition("noise_mm", 5, "noise, mm"), {**ROW, "n": 60})])
    print_grasp({"success": 0.95, "n": 20, "expert": {"success": 1.0}})
    printed = capsys.readouterr().out
    assert "Robustness, n = 60" in printed and "87.4–95.0" in printed
    assert "Grasped and lifted: 95% of 20 (expert 100%)" in printed


def test_the_fallback_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_fallback({})
    assert capsys.readouterr().out == ""
    print_fallback({**ROW, "n_taken_over": 7, "n_without_plan": 2})
    printed = " ".join(capsys.readouterr().out.split())
    assert "took over 7, no plan for 2" in printed
    assert "strict and free of contact 92.0% of 200, 95 % interval 87.4–95.0 %" in printed
