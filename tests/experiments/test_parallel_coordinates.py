"""The plot takes numbers, categories and missing values; ticks show the values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.experiments.comparison import COLUMNS, STRICT, compare
from pipeline.experiments.dvc import Experiment
from pipeline.experiments.parallel_coordinates import (
    CATEGORIES,
    LABEL_LENGTH,
    TICKS,
    build_scales,
    draw,
)


def _runs(number: int) -> list[Experiment]:
    runs = []
    for index in range(number):
        metrics = {column.key: float(index + place) for place, column in enumerate(COLUMNS)}
        if index == 1:
            del metrics[COLUMNS[2].key]
        params = {
            "train.lr": 10.0 ** -(index + 1), "policy.network": ("mlp", "unet")[index % 2],
            "policy.unet_channels": [32 * (index + 1)],
        }  # fmt: skip
        runs.append(Experiment(f"run-{index}", params, metrics))
    return runs


def test_axes(tmp_path: Path) -> None:
    found = compare(_runs(4), STRICT)
    lr, network, channels, *metrics = build_scales(found)
    # Logarithmic: equal steps for each power of ten; the best run comes first.
    assert np.allclose(lr.heights, [0, 1 / 3, 2 / 3, 1])
    assert [text for _, text in lr.ticks] == ["0.0001", "0.001", "0.01", "0.1"]
    assert {text: height for height, text in network.ticks} == {"mlp": 0, "unet": 1}
    assert len(channels.ticks) == 4
    assert np.isnan(metrics[2].heights).sum() == 1
    draw(found, tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_run_and_runs_with_equal_values(tmp_path: Path) -> None:
    draw(compare(_runs(1), STRICT), tmp_path / "one.png")
    same = compare([Experiment(name, {"train.lr": 1e-3}, {STRICT: 1.0}) for name in "ab"], STRICT)
    (strict,) = build_scales(same)
    assert np.allclose(strict.heights, 0.5) and strict.ticks == [(0.5, "100")]
    draw(same, tmp_path / "same.png")


def test_many_values_have_few_ticks() -> None:
    many = [
        Experiment(str(n), {"task.object": f"object_{n}"}, {STRICT: float(n)}) for n in range(40)
    ]
    categories, strict = build_scales(compare(many, STRICT))
    assert len(categories.ticks) <= CATEGORIES
    assert [text for _, text in strict.ticks] == ["0", "975", "1.95e+03", "2.92e+03", "3.9e+03"]


def test_a_metric_of_two_values_has_two_ticks_and_a_wide_range_round_ones() -> None:
    pair = [Experiment(name, {}, {STRICT: value}) for name, value in (("a", 0.5), ("b", 0.75))]
    (strict,) = build_scales(compare(pair, STRICT))
    assert strict.ticks == [(0.0, "50"), (1.0, "75")]
    wide = [
        Experiment(str(n), {"train.lr": 10.0**-n}, {STRICT: float(n)}) for n in range(1, TICKS + 2)
    ]
    lr, _ = build_scales(compare(wide, STRICT))
    assert [text for _, text in lr.ticks] == ["1e-06", "1.78e-05", "0.000316", "0.00562", "0.1"]
    few = build_scales(compare(wide[:TICKS], STRICT))[0]
    assert [text for _, text in few.ticks] == ["1e-05", "0.0001", "0.001", "0.01", "0.1"]


def test_only_names_that_are_too_long_are_cut() -> None:
    names = ["x" * LABEL_LENGTH, "y" * LABEL_LENGTH + "z"]
    runs = [Experiment(name, {"task.object": name}, {STRICT: 1.0}) for name in names]
    categories = build_scales(compare(runs, STRICT))[0]
    cut = "y" * (LABEL_LENGTH - 1) + "…"
    assert [text for _, text in categories.ticks] == [names[0], cut]
