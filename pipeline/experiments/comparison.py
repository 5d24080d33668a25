"""What came of many runs, side by side: a table, a CSV file and the picture's data."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import wilson_interval
from pipeline.experiments.dvc import Experiment
from pipeline.experiments.grid import as_text

STRICT = "evaluate.closed_loop.success_strict"
TRIALS = "evaluate.closed_loop.n"
ERROR = "evaluate.closed_loop.error_mm_median"


@dataclass(frozen=True)
class Column:
    """A metric of the comparison."""

    key: str
    """As `Experiment.metrics` has it."""
    name: str
    """Of the CSV file's column."""
    heading: str
    format: Callable[[float], str]


COLUMNS = (
    Column(STRICT, "success_strict", "strict", lambda value: f"{value:.1%}"),
    Column(
        ERROR, "error_mm_median", "median mm",
        lambda value: f"{value:.2f}",
    ),
    Column(
        "evaluate.open_loop.joint_rmse_deg", "joint_rmse_deg", "joint RMSE °",
        lambda value: f"{value:.3f}",
    ),
    Column(
        "export.latency_ms.onnxruntime", "onnx_ms", "ONNX ms", lambda value: f"{value:.2f}"
    ),
    Column("train.seconds", "train_s", "training s", lambda value: f"{value:.0f}"),
)  # fmt: skip
"""Numbers of every comparison, in their order."""


class ComparisonError(PipelineError):
    """There is nothing to compare, or not by that."""


@dataclass(frozen=True)
class Comparison:
    """Experiments, best first, and the parameters in which they differ."""

    experiments: tuple[Experiment, ...]
    parameters: tuple[str, ...]
    sort: str
    """The metric that they are sorted by."""

    def table(self) -> Table:
        """For the console."""
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("run", no_wrap=True)
        for parameter in self.parameters:
            table.add_column(parameter, overflow="fold")
        for heading in ("strict", "95 %", *(column.heading for column in COLUMNS[1:])):
            table.add_column(heading, justify="right", no_wrap=True)
        for experiment in self.experiments:
            cells = [
                column.format(experiment.metrics[column.key])
                if column.key in experiment.metrics else "–"
                for column in COLUMNS
            ]  # fmt: skip
            found = interval(experiment)
            cells.insert(1, f"{found[0] * 100:.1f}–{found[1] * 100:.1f}" if found else "–")
            values = [as_text(experiment.params.get(key)) for key in self.parameters]
            table.add_row(experiment.name, *values, *cells)
        return table

    def write_csv(self, path: Path) -> None:
        """One row a run; empty cells where a metric is missing.

        Args:
            path: the file.
        """
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            strict, *rest = (column.name for column in COLUMNS)
            bounds = ("success_strict_low", "success_strict_high")
            writer.writerow(["run", *self.parameters, strict, *bounds, *rest])
            for experiment in self.experiments:
                numbers: list[Any] = [experiment.metrics.get(column.key, "") for column in COLUMNS]
                numbers[1:1] = interval(experiment) or ("", "")
                values = [as_text(experiment.params.get(key)) for key in self.parameters]
                writer.writerow([experiment.name, *values, *numbers])


def compare(experiments: Sequence[Experiment], sort: str, least: bool = False) -> Comparison:
    """Sort experiments, equals by their median error, and find in which parameters they differ.

    Args:
        experiments: with parameters and metrics; those without the metric come last.
        sort: a metric, by its whole key or by the end of one.
        least: the least of it is best.

    Raises:
        ComparisonError: no experiment, or none with that metric.
    """
    if not experiments:
        raise ComparisonError(
            "no experiments on this commit; make some with -S, for instance "
            "`python -m pipeline sweep -S train.lr=3e-4,1e-3`"
        )
    key = metric_key(sort, experiments)
    sign = 1 if least else -1

    def rank(experiment: Experiment) -> tuple[bool, float, float, str]:
        value = experiment.metrics.get(key)
        error = experiment.metrics.get(ERROR, inf)
        return value is None, sign * (value or 0.0), error, experiment.name

    keys = dict.fromkeys(key for experiment in experiments for key in experiment.params)
    differing = [
        key for key in keys
        if len({as_text(experiment.params.get(key)) for experiment in experiments}) > 1
    ]  # fmt: skip
    return Comparison(tuple(sorted(experiments, key=rank)), tuple(differing), key)


def metric_key(name: str, experiments: Sequence[Experiment]) -> str:
    """The whole key of a metric.

    Args:
        name: the key, or the end of one, such as success_strict.
        experiments: that have it.

    Raises:
        ComparisonError: no such metric, or several.
    """
    known = dict.fromkeys(key for experiment in experiments for key in experiment.metrics)
    if name in known:
        return name
    found = [key for key in known if key.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if not known:
        raise ComparisonError(
            "none of these runs has metrics; `dvc exp show` says whether they are in the cache"
        )
    options = ", ".join(found or sorted(known)[:20])
    problem = "belongs to several" if found else "is unknown"
    raise ComparisonError(f"metric {name!r} {problem}; expected one of: {options}")


def interval(experiment: Experiment) -> tuple[float, float] | None:
    """Wilson's 95 % interval of the strict success (DVC shows no lists, so it is counted anew).

    Args:
        experiment: of which.

    Returns:
        Lower and upper bound; None where it has no closed loop.
    """
    share, trials = experiment.metrics.get(STRICT), experiment.metrics.get(TRIALS)
    if share is None or not trials:
        return None
    return wilson_interval(round(share * trials), int(trials))
