"""Range and spread of a data set's numbers. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Stats = dict[str, list[float]]


class StatsError(PipelineError):
    """There is nothing to take statistics of."""


def column_stats(rows: NDArray[np.floating[Any]]) -> Stats:
    """Least, largest, mean and standard deviation of each column.

    Args:
        rows: the training rows alone, so that nothing leaks from the other splits. Shape (N, D).

    Returns:
        `min`, `max`, `mean` and `std`, each D numbers in the columns' unit.

    Raises:
        StatsError: there is no row, or a number is not finite.
    """
    if len(rows) == 0:
        raise StatsError("no training rows to take statistics of; lower val and test fractions")
    if not np.isfinite(rows).all():
        raise StatsError("training rows hold a number that is not finite; run ingest again")
    values = rows.astype(np.float64)
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
    }
