"""Compares the results of many runs: a table, a CSV file and a plot."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import wilson_interval
from pipeline.experiments.dvc import PREFIX, Experiment, Repository
from pipeline.experiments.grid import as_text
from pipeline.run import console, output_folder

STRICT = "evaluate.closed_loop.success_strict"
TRIALS = "evaluate.closed_loop.n"
ERROR = "evaluate.closed_loop.error_mm_median"


@dataclass(frozen=True)
class Column:
    """A metric of the comparison."""

    key: str
    """Key in `Experiment.metrics`."""
    name: str
    """Column of the CSV file."""
    heading: str
    """Heading in the table and in the plot."""
    format: Callable[[float], str]


COLUMNS = (
    Column(STRICT, "success_strict", "strict", lambda value: f"{value:.1%}"),
    Column(ERROR, "error_mm_median", "median mm", lambda value: f"{value:.2f}"),
    Column(
        "evaluate.open_loop.joint_rmse_deg", "joint_rmse_deg", "joint RMSE °",
        lambda value: f"{value:.3f}",
    ),
    Column(
        "export.latency_ms.onnxruntime", "onnx_ms", "ONNX ms", lambda value: f"{value:.2f}"
    ),
    Column("train.seconds", "train_s", "training s", lambda value: f"{value:.0f}"),
)  # fmt: skip
"""Metrics of every comparison, in order."""


class ComparisonError(PipelineError):
    """There are no experiments to compare, or they lack the metric."""


@dataclass(frozen=True)
class Comparison:
    """Experiments, best first, and the parameters in which they differ."""

    experiments: tuple[Experiment, ...]
    parameters: tuple[str, ...]
    sort: str
    """Key of the metric that they are sorted by."""

    def table(self) -> Table:
        """Build a table for the console."""
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
        """Write one row per run, with empty cells for missing metrics.

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


def compare(experiments: Sequence[Experiment], sort: str, minimize: bool = False) -> Comparison:
    """Sort experiments by a metric and find the parameters in which they differ.

    For equal values of the metric, the smaller median error wins.

    Args:
        experiments: with parameters and metrics; those without the metric come last.
        sort: metric to sort by, see `metric_key`.
        minimize: whether smaller values are better.

    Raises:
        ComparisonError: there are no experiments, or none has the metric.
    """
    if not experiments:
        raise ComparisonError(
            "no experiments on this commit; run some with -S, for instance "
            "`python -m pipeline sweep -S train.lr=3e-4,1e-3`"
        )
    key = metric_key(sort, experiments)
    sign = 1 if minimize else -1

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
    """Find the full key of a metric.

    Args:
        name: the key or its last parts, such as success_strict.
        experiments: that may have it.

    Raises:
        ComparisonError: no metric matches, or several do.
    """
    known = dict.fromkeys(key for experiment in experiments for key in experiment.metrics)
    if name in known:
        return name
    found = [key for key in known if key.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if not known:
        raise ComparisonError(
            "none of these runs has metrics; `dvc exp show` shows whether they are in the cache"
        )
    options = ", ".join(found or sorted(known)[:20])
    problem = "is ambiguous" if found else "is unknown"
    raise ComparisonError(f"metric {name!r} {problem}; expected one of: {options}")


def interval(experiment: Experiment) -> tuple[float, float] | None:
    """Compute the 95 % Wilson interval of the strict success.

    The metrics file has it too, but `dvc exp show` leaves out lists.

    Args:
        experiment: with its metrics.

    Returns:
        Lower and upper bound; None if the experiment has no closed-loop results.
    """
    share, trials = experiment.metrics.get(STRICT), experiment.metrics.get(TRIALS)
    if share is None or not trials:
        return None
    return wilson_interval(round(share * trials), int(trials))


def report(
    repository: Repository, names: set[str], out: Path, sort: str, minimize: bool = False
) -> None:
    """Compare experiments: print a table, write a plot and a CSV file.

    Args:
        repository: of the experiments.
        names: of the experiments; if empty, all on this commit and the commit itself.
        out: folder for comparison.png and comparison.csv.
        sort: metric to sort by, see `metric_key`.
        minimize: whether smaller values are better.

    Raises:
        ComparisonError: there are no experiments, or none has the metric.
        OutputError: `out` was not written by this command.
    """
    from pipeline.experiments.parallel_coordinates import draw

    found = repository.experiments()
    chosen = [item for item in found if (item.name in names if names else item.metrics)]
    comparison = compare(chosen, sort, minimize)
    with output_folder(out) as folder:
        comparison.write_csv(folder / "comparison.csv")
        draw(comparison, folder / "comparison.png")
    table = comparison.table()
    # In a narrow terminal the table may be wider, so that no number is cut off.
    width = console.measure(table, options=console.options.update(max_width=1000)).maximum
    Console(width=max(width, console.width), file=console.file, highlight=False).print(table)
    console.print(
        f"{out}/comparison.png and .csv. `dvc exp apply NAME` brings a run into the workspace, "
        f"`dvc exp remove NAME` removes it (NAME: {PREFIX}…)"
    )
