"""Statistics of a data set's columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Array = NDArray[np.float64]
Stats = dict[str, list[float]]


class StatsError(PipelineError):
    """There are no rows to take statistics of, or they hold no finite numbers."""


def column_stats(blocks: Callable[[], Iterable[NDArray[np.floating[Any]]]]) -> Stats:
    """Minimum, maximum, mean and standard deviation of each column.

    The result does not depend on how the rows are divided into blocks: sums run row by row.

    Args:
        blocks: yields the training rows alone, so that nothing leaks from the other splits, as
            blocks of shape (any number, D); called twice.

    Returns:
        `min`, `max`, `mean` and `std`, each D numbers in the columns' unit.

    Raises:
        StatsError: there is no row, or a number is not finite.
    """
    number, total = 0, None
    lowest, highest = np.array(np.inf), np.array(-np.inf)
    for block in blocks():
        values = block.astype(np.float64)
        if not np.isfinite(values).all():
            raise StatsError("training rows hold a number that is not finite; run ingest again")
        lowest = np.minimum(lowest, values.min(axis=0))
        highest = np.maximum(highest, values.max(axis=0))
        number, total = number + len(values), _add_rows(total, values)
    if total is None:
        raise StatsError("no training rows to take statistics of; lower val and test fractions")
    mean, squares = total / number, np.zeros_like(total)
    for block in blocks():
        squares = _add_rows(squares, (block.astype(np.float64) - mean) ** 2)
    return {
        "min": lowest.tolist(),
        "max": highest.tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(squares / number).tolist(),
    }


def _add_rows(total: Array | None, rows: Array) -> Array:
    """The sum over rows, added one after the other so that blocks do not change the rounding."""
    together = rows if total is None else np.concatenate([total[None], rows])
    return np.asarray(np.add.reduce(together, axis=0), dtype=np.float64)
