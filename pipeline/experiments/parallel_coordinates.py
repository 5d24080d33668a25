"""A plot in parallel coordinates: one line per run across its parameters and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipeline.experiments.comparison import COLUMNS, Comparison
from pipeline.experiments.grid import as_text

Array = NDArray[np.float64]
LOGARITHMIC_RATIO = 10.0
"""An axis is logarithmic if its largest value is at least this many times the smallest."""
TICKS = 5
"""Most ticks of a numeric axis."""
CATEGORIES = 12
"""Most labels of an axis of categories."""
LABEL_LENGTH = 14


@dataclass(frozen=True)
class Scale:
    """One vertical axis."""

    title: str
    heights: Array
    """Where each run crosses the axis, from 0 to 1; NaN where a run has no value. (R,)."""
    ticks: list[tuple[float, str]]
    """Height and label of each tick."""
    bold: bool


def draw(comparison: Comparison, path: Path) -> None:
    """Write the plot. Brighter lines are better runs.

    Args:
        comparison: runs, best first.
        path: a PNG file.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    scales = build_scales(comparison)
    number = len(comparison.experiments)
    figure, axes = plt.subplots(figsize=(max(1.75 * len(scales), 7), 4.6))
    colors = mpl.colormaps["viridis"](np.linspace(0.92, 0.0, max(number, 2)))
    for rank in reversed(range(number)):
        heights = [scale.heights[rank] for scale in scales]
        axes.plot(heights, color=colors[rank], linewidth=2.6 if rank == 0 else 1.4, alpha=0.95)
    for position, scale in enumerate(scales):
        _draw_axis(axes, position, scale)
    best = comparison.experiments[0].name
    metric = next((c.heading for c in COLUMNS if c.key == comparison.sort), comparison.sort)
    axes.set_title(
        f"{number} runs by {metric}: the best is yellow and wide ({best}), the worst is violet",
        fontsize=9, loc="left", pad=46, color="0.25",
    )  # fmt: skip
    axes.set(xlim=(-0.3, len(scales) - 0.45), ylim=(-0.06, 1.06))
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def build_scales(comparison: Comparison) -> list[Scale]:
    """Compute the axes: parameters that differ, then the metrics that some run has.

    Args:
        comparison: runs, best first.
    """
    scales = []
    for key in comparison.parameters:
        values = [experiment.params.get(key) for experiment in comparison.experiments]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values):
            scales.append(_numeric(key, np.array(numbers, np.float64), bold=False))
        else:
            scales.append(_categories(key, [as_text(value) for value in values]))
    for column in COLUMNS:
        found = [run.metrics.get(column.key, np.nan) for run in comparison.experiments]
        if np.isfinite(found).any():
            factor, title = (100, "strict, %") if column.name == "success_strict" else (1, "")
            scales.append(_numeric(title or column.heading, factor * np.array(found), bold=True))
    return scales


def _numeric(title: str, values: Array, bold: bool) -> Scale:
    """Build an axis of numbers. Ticks are at the values of a parameter where these are few."""
    finite = np.unique(values[np.isfinite(values)])
    logarithmic = bool(finite[0] > 0 and finite[-1] / finite[0] >= LOGARITHMIC_RATIO)
    forward = np.log10 if logarithmic else np.asarray
    low, high = forward(finite[[0, -1]])
    marks = finite
    if len(finite) > (2 if bold else TICKS):  # values of metrics may be too close for labels
        marks = np.linspace(low, high, TICKS)
        marks = 10**marks if logarithmic else marks

    def height(numbers: Array) -> Array:
        places = (forward(numbers) - low) / (high - low) if high > low else 0.5 + 0 * numbers
        return np.asarray(places)

    ticks = zip(height(marks), marks, strict=True)
    return Scale(
        title, height(values), [(float(place), f"{mark:.3g}") for place, mark in ticks], bold
    )


def _categories(title: str, values: list[str]) -> Scale:
    names = sorted(set(values))
    places = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
    labelled = names[:: -(-len(names) // CATEGORIES)]
    ticks = [
        (places[name], name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 1]}…")
        for name in labelled
    ]
    return Scale(title, np.array([places[value] for value in values]), ticks, bold=False)


def _draw_axis(axes: Axes, position: int, scale: Scale) -> None:
    color, weight = ("0.15", "bold") if scale.bold else ("0.6", "normal")
    axes.plot([position] * 2, [0, 1], color=color, linewidth=1.2, zorder=3)
    axes.text(
        position, 1.07, scale.title.replace(".", ".\n", 1), ha="center", va="bottom", fontsize=9,
        fontweight=weight,
    )  # fmt: skip
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for height, label in scale.ticks:
        axes.plot([position - 0.025, position], [height] * 2, color="0.3", linewidth=1, zorder=3)
        axes.text(
            position - 0.045, height, label, ha="right", va="center", fontsize=8, bbox=box, zorder=4
        )
