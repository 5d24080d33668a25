"""The card says what the stages measured, and the same results give the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.release.card import CardError, read_results, write_card

from .results import results, write


def test_the_card_holds_figures_with_number_and_interval(params: Params, tmp_path: Path) -> None:
    write(tmp_path, results())
    found = read_results(tmp_path)
    card = write_card("pen-grasp-policy", "v1.2.3", found, params)
    for words in (
        "# Model card: pen-grasp-policy v1.2.3",
        "| **calm** | 200 | **100.0 % (98.1–100.0)** | 100.0 % (98.1–100.0) | 0.7 mm |",
        "| gains divided 10 | 60 | 100.0 % (94.0–100.0) | 100.0 % (94.0–100.0) | 0.7 mm |",
        "Success is 100.0 % by the team's measure and 99.5 % at 5 mm and 5°.",
        "100.0 % (83.9–100.0) of 20 are grasped and lifted",
        "Failures: stopped short 1.",
        "690,784 parameters",
        "1000 episodes, 55,454 steps at 30 Hz",
        "Content `8060dd46dd28`",
        "3 left out (TOO_SHORT 3)",
        "- and 2 more",
        "differs from torch by 1.1e-06 rad at most (limit 1e-05)",
        "| onnxruntime | built and run | 1.00 ms | 9.19 ms |",
        "| tensorrt-rtx 8.9 | built, not run (no GPU of this kind) | – | – |",
        'load_policy("REPOSITORY@v1.2.3")',
        '"pen_pos": p',
        "dvc artifacts get REPOSITORY pen-grasp-policy --rev v1.2.3",
    ):
        assert words in card
    assert card == write_card("pen-grasp-policy", "v1.2.3", found, params)
    assert "nominal" not in card and "{{" not in card and "\n\n\n" not in card


def test_evaluation_without_grasps_and_disturbances_has_a_card(params: Params) -> None:
    found = results()
    del found["metrics"]["grasp"], found["metrics"]["robustness"]
    card = write_card("pen-grasp-policy", "v1.0.0", found, params)
    assert "grasped and lifted" not in card and "| **calm** |" in card


def test_the_card_says_how_many_obstacles_the_policy_sees(params: Params) -> None:
    found = results()
    assert "sees up to" not in write_card("pen-grasp-policy", "v1.0.0", found, params)
    found["export"]["onnx"]["inputs"]["obstacles"] = ["batch", 8, 12]
    card = write_card("pen-grasp-policy", "v1.0.0", found, params)
    assert "2 observations of 25 numbers, sees up to 8 obstacles and returns" in card


def test_missing_results_and_figures_are_named(params: Params, tmp_path: Path) -> None:
    found = results()
    write(tmp_path, found)
    (tmp_path / "artifacts/export/export.json").unlink()
    with pytest.raises(CardError, match=r"export.json.*make repro"):
        read_results(tmp_path)
    del found["dataset"]["content"]
    with pytest.raises(CardError, match=r"figure of the card is missing .*content.*; `make repro`"):
        write_card("pen-grasp-policy", "v1.0.0", found, params)
