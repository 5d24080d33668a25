"""Runs are sorted, their differences found, intervals counted anew."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.evaluation.metrics import wilson_interval
from pipeline.experiments.comparison import (
    COLUMNS,
    STRICT,
    TRIALS,
    ComparisonError,
    compare,
    interval,
    metric_key,
)
from pipeline.experiments.dvc import Experiment


def _experiment(name: str, lr: float, network: str, **metrics: float) -> Experiment:
    keys = {column.name: column.key for column in COLUMNS} | {"n": TRIALS}
    params = {"train.lr": lr, "policy.network": network, "train.seed": 0}
    return Experiment(name, params, {keys[key]: value for key, value in metrics.items()})


RUNS = [
    _experiment("a", 1e-4, "mlp", success_strict=0.5, n=200, train_s=60, error_mm_median=3),
    _experiment("b", 1e-3, "mlp", success_strict=0.99, n=200, train_s=61, error_mm_median=1),
    _experiment("c", 1e-3, "unet", train_s=300),
]


def test_best_first_with_what_differs() -> None:
    found = compare(RUNS, "closed_loop.success_strict")
    assert [run.name for run in found.experiments] == ["b", "a", "c"]
    assert found.parameters == ("train.lr", "policy.network")
    assert found.sort == STRICT
    least = compare(RUNS, "error_mm_median", least=True)
    assert [run.name for run in least.experiments] == ["b", "a", "c"]
    assert [run.name for run in compare(RUNS, "seconds").experiments] == ["c", "b", "a"]
    equal = [_experiment(name, 1e-3, "mlp", success_strict=1, error_mm_median=error)
             for name, error in (("d", 3), ("e", 2))]  # fmt: skip
    assert [run.name for run in compare(equal, STRICT).experiments] == ["e", "d"]


def test_table_and_csv(tmp_path: Path) -> None:
    found = compare(RUNS, STRICT)
    with (console := Console(width=160)).capture() as capture:
        console.print(found.table())
    text = capture.get()
    low, high = wilson_interval(198, 200)
    assert interval(RUNS[1]) == (low, high)
    assert "99.0%" in text
    assert f"{low * 100:.1f}–{high * 100:.1f}" in text
    found.write_csv(tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["b", "a", "c"]
    assert float(rows[0]["success_strict_low"]) == low
    assert float(rows[0]["train_s"]) == 61
    assert rows[2]["success_strict"] == rows[2]["success_strict_low"] == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [("speed", "'speed' is unknown; expected one of"), ("x", "'x' belongs to several")],
)
def test_unclear_metrics_are_refused(name: str, words: str) -> None:
    runs = [Experiment("a", {}, {"train.x": 1.0, "evaluate.x": 2.0})]
    with pytest.raises(ComparisonError, match=words):
        metric_key(name, runs)


def test_nothing_to_compare() -> None:
    with pytest.raises(ComparisonError, match="make some with -S"):
        compare([], STRICT)
    with pytest.raises(ComparisonError, match="dvc exp show"):
        compare([Experiment("a", {}, {})], STRICT)
