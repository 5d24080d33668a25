"""Statistics are those of the rows given."""

import numpy as np
import pytest

from pipeline.dataset.statistics import StatsError, column_stats


def test_each_column_has_its_range_mean_and_spread():
    stats = column_stats(lambda: [np.array([[1.0, -2.0], [3.0, -2.0], [8.0, -2.0]], np.float32)])
    assert stats["min"] == [1.0, -2.0]
    assert stats["max"] == [8.0, -2.0]
    assert stats["mean"] == [4.0, -2.0]
    np.testing.assert_allclose(stats["std"], [np.sqrt(26 / 3), 0.0])


def test_no_rows_are_refused():
    with pytest.raises(StatsError, match="no training rows"):
        column_stats(list)


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(StatsError, match="not finite"):
        column_stats(lambda: [np.array([[1.0], [np.nan]])])


def test_blocks_do_not_change_a_bit_of_the_statistics():
    rows = np.random.default_rng(0).normal(size=(5000, 25)).astype(np.float32)
    whole = column_stats(lambda: [rows])
    assert column_stats(lambda: np.array_split(rows, 93)) == whole
    assert whole["mean"] == rows.astype(np.float64).mean(axis=0).tolist()
    assert whole["std"] == rows.astype(np.float64).std(axis=0).tolist()
