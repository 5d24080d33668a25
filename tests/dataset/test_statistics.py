"""Statistics are those of the rows given."""

import numpy as np
import pytest

from pipeline.dataset.statistics import StatsError, column_stats


def test_each_column_has_its_range_mean_and_spread():
    stats = column_stats(np.array([[1.0, -2.0], [3.0, -2.0], [8.0, -2.0]], np.float32))
    assert stats["min"] == [1.0, -2.0]
    assert stats["max"] == [8.0, -2.0]
    assert stats["mean"] == [4.0, -2.0]
    np.testing.assert_allclose(stats["std"], [np.sqrt(26 / 3), 0.0])


def test_no_rows_are_refused():
    with pytest.raises(StatsError, match="no training rows"):
        column_stats(np.zeros((0, 3)))


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(StatsError, match="not finite"):
        column_stats(np.array([[1.0], [np.nan]]))
