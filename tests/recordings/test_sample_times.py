"""Samples are timed by their stamps if these rise, else by the log."""

import numpy as np
import pytest

from pipeline.recordings.sample_times import sample_times

MS = 1_000_000


def test_stamps_that_rise_are_the_times_and_a_repeated_one_counts_once():
    times = sample_times([10 * MS, 20 * MS, 20 * MS, 30 * MS], [99 * MS] * 4)
    assert times.stamped
    assert times.times_ns.tolist() == [10 * MS, 20 * MS, 30 * MS]
    assert times.kept.tolist() == [0, 1, 3]


@pytest.mark.parametrize("stamps", [[0, 0, 0], [3, 2, 1], [5, 5, 5], [0, 1, 2]])
def test_stamps_that_are_missing_or_do_not_rise_are_not_used(stamps):
    times = sample_times(stamps, [10 * MS, 20 * MS, 30 * MS])
    assert not times.stamped
    assert times.times_ns.tolist() == [10 * MS, 20 * MS, 30 * MS]


def test_of_samples_that_were_logged_together_the_last_counts():
    log = np.repeat([20, 40, 60], 10) * MS + np.tile(np.arange(10) * 10_000, 3)
    times = sample_times(np.zeros(30, np.int64), log)
    assert times.kept.tolist() == [9, 19, 29]
    assert sample_times(np.arange(30) * 0, np.arange(30) * MS).kept.tolist() == list(range(30))


def test_log_times_that_fall_never_give_times_that_fall():
    times = sample_times([0, 0, 0], [20 * MS, 10 * MS, 30 * MS])
    assert (np.diff(times.times_ns) > 0).all()


def test_a_single_sample_keeps_its_log_time():
    assert sample_times([7], [9]).times_ns.tolist() == [9]
