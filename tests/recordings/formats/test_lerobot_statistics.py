"""Statistics of all episodes are those of their rows together."""

import numpy as np
import pytest

from pipeline.recordings.formats.lerobot_statistics import TotalStatistics, episode_statistics


@pytest.fixture
def episodes():
    rng = np.random.default_rng(0)
    return [rng.normal(1000.0 * e, 1 + e, (20 + 7 * e, 3)).astype(np.float32) for e in range(4)]


def test_of_one_episode_they_are_numpy_s():
    rows = np.arange(12.0).reshape(6, 2)
    (found,) = episode_statistics({"action": rows}).values()
    assert found["count"].tolist() == [6]
    np.testing.assert_array_equal(found["min"], [0, 1])
    np.testing.assert_array_equal(found["max"], [10, 11])
    np.testing.assert_array_equal(found["mean"], [5, 6])
    np.testing.assert_allclose(found["std"], rows.std(axis=0))
    np.testing.assert_allclose(found["q10"], [1, 2])
    np.testing.assert_allclose(found["q99"], [9.9, 10.9])


def test_a_plain_column_has_one_number():
    (found,) = episode_statistics({"timestamp": np.array([0.0, 0.5])}).values()
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(found, (1,))


def test_together_they_are_those_of_all_rows(episodes):
    total = TotalStatistics()
    for rows in episodes:
        total.add(episode_statistics({"action": rows}))
    found, rows = total.to_dict()["action"], np.concatenate(episodes).astype(np.float64)
    assert found["count"] == [len(rows)]
    np.testing.assert_array_equal(found["min"], rows.min(axis=0))
    np.testing.assert_array_equal(found["max"], rows.max(axis=0))
    np.testing.assert_allclose(found["mean"], rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["std"], rows.std(axis=0), rtol=1e-12)


def test_quantiles_are_averaged_by_rows(episodes):
    total = TotalStatistics()
    for rows in episodes:
        total.add(episode_statistics({"action": rows}))
    medians = [np.median(rows.astype(np.float64), axis=0) for rows in episodes]
    expected = np.average(medians, axis=0, weights=[len(rows) for rows in episodes])
    np.testing.assert_allclose(total.to_dict()["action"]["q50"], expected)


def test_a_number_that_never_changes_has_no_deviation():
    total = TotalStatistics()
    for length in (3, 50, 7):
        total.add(episode_statistics({"pose": np.full((length, 2), 0.4, np.float32)}))
    np.testing.assert_allclose(total.to_dict()["pose"]["std"], 0, atol=1e-12)
