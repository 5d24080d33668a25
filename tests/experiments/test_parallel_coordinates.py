"""The picture takes numbers, names and gaps; its axes say what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.experiments import parallel_coordinates
from pipeline.experiments.comparison import COLUMNS, STRICT, compare
from pipeline.experiments.dvc import Experiment


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
    lr, network, channels = parallel_coordinates._parameters(found)
    # Logarithmic: the same step for each power of ten; best run first.
    assert np.allclose(lr.heights, [0, 1 / 3, 2 / 3, 1])
    assert [text for _, text in lr.ticks] == ["0.0001", "0.001", "0.01", "0.1"]
    assert {text: height for height, text in network.ticks} == {"mlp": 0, "unet": 1}
    assert len(channels.ticks) == 4
    metrics = parallel_coordinates._metrics(found)
    assert np.isnan(metrics[2].heights).sum() == 1
    parallel_coordinates.draw(found, tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_run_and_runs_that_agree(tmp_path: Path) -> None:
    parallel_coordinates.draw(compare(_runs(1), STRICT), tmp_path / "one.png")
    same = [Experiment(name, {"train.lr": 1e-3}, {STRICT: 1.0}) for name in "ab"]
    assert np.allclose(parallel_coordinates._metrics(compare(same, STRICT))[0].heights, 0.5)
    parallel_coordinates.draw(compare(same, STRICT), tmp_path / "same.png")
    many = [
        Experiment(str(n), {"task.object": f"object_{n}"}, {STRICT: float(n)}) for n in range(40)
    ]
    (axis,) = parallel_coordinates._parameters(compare(many, STRICT))
    assert len(axis.ticks) <= parallel_coordinates.CATEGORIES
