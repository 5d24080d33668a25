"""Statistics of a LeRobot data set's columns: of each episode, and of all episodes. Pure.

LeRobot normalises with those of all episodes; its own tools compute them from the episodes' too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistics = dict[str, dict[str, Array]]
"""By column: min, max, mean, std, count and quantiles, D numbers each; count is one."""

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def episode_statistics(columns: Mapping[str, NDArray[Any]]) -> Statistics:
    """Statistics of one episode.

    Args:
        columns: numbers of T frames by column. Shape (T,) or (T, D).
    """
    return {name: _of_column(values) for name, values in columns.items()}


def _of_column(values: NDArray[Any]) -> dict[str, Array]:
    rows = values.astype(np.float64).reshape(len(values), -1)
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0)
    return {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([len(rows)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


class TotalStatistics:
    """Statistics of all episodes, from those of each; memory does not grow with episodes."""

    def __init__(self) -> None:
        """Begin without episodes."""
        self._total: Statistics = {}

    def add(self, episode: Statistics) -> None:
        """Add an episode.

        Args:
            episode: its statistics.
        """
        for name, found in episode.items():
            known = self._total.get(name)
            self._total[name] = found if known is None else _merged(known, found)

    def to_dict(self) -> dict[str, dict[str, list[float]]]:
        """A JSON form, that of meta/stats.json."""
        return {
            column: {name: values.tolist() for name, values in found.items()}
            for column, found in self._total.items()
        }


def _merged(one: dict[str, Array], other: dict[str, Array]) -> dict[str, Array]:
    """Statistics of two sets of rows together (mean and variance: Chan et al. 1979).

    Quantiles are averaged, weighted by rows, as LeRobot does: those of all rows are not known.
    """
    count = one["count"] + other["count"]
    share = other["count"] / count
    apart = other["mean"] - one["mean"]
    variance = (1 - share) * one["std"] ** 2 + share * other["std"] ** 2
    averaged = {name: one[name] + share * (other[name] - one[name]) for name in QUANTILES}
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": one["mean"] + share * apart,
        "std": np.sqrt(variance + share * (1 - share) * apart**2),
        "count": count,
        **averaged,
    }
