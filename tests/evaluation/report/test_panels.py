"""Tests that panels show the numbers that they are given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from pipeline.evaluation.report import panels


@pytest.fixture
def axis() -> Iterator[Axes]:
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_successes_and_failures_are_counted_in_the_legend(axis: Axes) -> None:
    panels.reached(axis, np.arange(3.0), np.arange(3.0), np.array([True, False, True]))
    assert axis.get_legend_handles_labels()[1] == ["reached (2)", "missed (1)"]


@pytest.mark.parametrize("values", [np.full(5, 1.2), np.linspace(0, 1, 40), np.zeros(3)])
def test_a_histogram_counts_every_value(axis: Axes, values: np.ndarray) -> None:
    panels.histogram(axis, values, "x")
    assert sum(patch.get_height() for patch in axis.patches) == len(values)


def test_intervals_are_listed_in_order_from_the_top(axis: Axes) -> None:
    share = np.array([0.2, 0.9])
    panels.intervals(axis, ["first", "second"], share, share - 0.1, share + 0.05)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["first", "second"]
    assert axis.yaxis_inverted()
    assert axis.lines[0].get_xdata().tolist() == [20.0, 90.0]


def test_the_median_of_an_error_is_drawn(axis: Axes) -> None:
    policy = np.array([[1.0, 1.0], [2.0, 4.0], [9.0, 9.0]])
    panels.error(axis, policy, policy * 2, 10.0, 0.1)
    lines = {line.get_label(): line.get_ydata().tolist() for line in axis.lines}
    assert lines["median"] == [2.0, 4.0]
    assert lines["expert, median"] == [4.0, 8.0]
    assert axis.lines[0].get_xdata().tolist() == [0.1, 0.2]
