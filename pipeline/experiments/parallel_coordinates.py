"""Parallel coordinates: a line a run, from its parameters to what came of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from pipeline.experiments.comparison import COLUMNS, Comparison
from pipeline.experiments.grid import as_text

Array = NDArray[np.float64]
LOGARITHMIC_FROM = 10.0
"""A parameter whose largest value is this many times the least has a logarithmic axis."""
TICKS = 5
CATEGORIES = 12
"""Values of a parameter that are named one by one at most."""


@dataclass(frozen=True)
class Scale:
    """One axis: where each run crosses it and what is written beside it."""

    title: str
    heights: Array
    """From 0 to 1 by run; NaN where a run has no value."""
    ticks: list[tuple[float, str]]


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture; the better a run, the brighter its line.

    Args:
        comparison: runs, best first.
        path: a PNG file.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import PathPatch

    scales = [*_parameters(comparison), *_metrics(comparison)]
    number = len(comparison.experiments)
    figure, axes = plt.subplots(figsize=(max(1.75 * len(scales), 7), 4.6))
    shades = mpl.colormaps["viridis"](np.linspace(0.92, 0.0, max(number, 2)))
    for rank in reversed(range(number)):
        heights = [scale.heights[rank] for scale in scales]
        for outline in _lines(heights):
            axes.add_patch(
                PathPatch(
                    outline,
                    fill=False,
                    edgecolor=shades[rank],
                    linewidth=2.6 if rank == 0 else 1.4,
                    alpha=0.95,
                    capstyle="round",
                )
            )
    for position, scale in enumerate(scales):
        _axis(axes, position, scale, len(_parameters(comparison)))
    best = comparison.experiments[0].name
    column = next((c.heading for c in COLUMNS if c.key == comparison.sort), comparison.sort)
    axes.set_title(
        f"{number} runs, by {column}: the best is yellow and wide ({best}), the worst violet",
        fontsize=9, loc="left", pad=46, color="0.25",
    )  # fmt: skip
    axes.set(xlim=(-0.3, len(scales) - 0.45), ylim=(-0.06, 1.06))
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _axis(axes: Axes, position: int, scale: Scale, parameters: int) -> None:
    metric = position >= parameters
    axes.plot([position] * 2, [0, 1], color="0.15" if metric else "0.6", linewidth=1.2, zorder=3)
    axes.text(
        position, 1.07, scale.title.replace(".", ".\n", 1), ha="center", va="bottom", fontsize=9,
        fontweight="bold" if metric else "normal",
    )  # fmt: skip
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for height, text in scale.ticks:
        axes.plot([position - 0.025, position], [height] * 2, color="0.3", linewidth=1, zorder=3)
        axes.text(
            position - 0.045, height, text, ha="right", va="center", fontsize=8, bbox=box, zorder=4
        )


def _lines(heights: list[float]) -> list[Outline]:
    """A smooth line between neighbouring axes; interrupted where a value is missing."""
    outlines = []
    for left, (start, end) in enumerate(itertools.pairwise(heights)):
        if np.isfinite(start) and np.isfinite(end):
            points = [(left, start), (left + 0.4, start), (left + 0.6, end), (left + 1, end)]
            outlines.append(Outline(points, [Outline.MOVETO, *[Outline.CURVE4] * 3]))
    return outlines


def _parameters(comparison: Comparison) -> list[Scale]:
    scales = []
    for key in comparison.parameters:
        values = [experiment.params.get(key) for experiment in comparison.experiments]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values):
            scales.append(_numeric(key, np.array(numbers, dtype=np.float64), by_value=True))
            continue
        names = sorted({as_text(value) for value in values})
        places = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
        every = -(-len(names) // CATEGORIES)
        scales.append(
            Scale(
                key,
                np.array([places[as_text(value)] for value in values]),
                [(places[name], _short(name)) for name in names[::every]],
            )
        )
    return scales


def _metrics(comparison: Comparison) -> list[Scale]:
    scales = []
    for column in COLUMNS:
        values = [
            experiment.metrics.get(column.key, np.nan) for experiment in comparison.experiments
        ]
        array = np.array(values, dtype=np.float64)
        if np.isfinite(array).any():
            factor, title = (100, "strict, %") if column.name == "success_strict" else (1, "")
            scales.append(_numeric(title or column.heading, array * factor, by_value=False))
    return scales


def _numeric(title: str, values: Array, by_value: bool) -> Scale:
    """An axis of numbers: ticks at the values where they are few, at round numbers otherwise."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    logarithmic = low > 0 and high / low >= LOGARITHMIC_FROM
    places = np.log10(values) if logarithmic else values
    bottom, top = np.nanmin(places), np.nanmax(places)
    span = top - bottom

    def height(place: Array) -> Array:
        return (place - bottom) / span if span > 0 else np.full_like(place, 0.5)

    distinct = np.unique(finite)
    if not by_value or len(distinct) > TICKS:
        steps = np.linspace(bottom, top, TICKS if span > 0 else 1)
        distinct = 10**steps if logarithmic else steps
    marks = height(np.log10(distinct) if logarithmic else distinct)
    ticks = [(float(mark), f"{value:.3g}") for mark, value in zip(marks, distinct, strict=True)]
    return Scale(title, height(places), ticks)


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}…"
