"""Draws histograms of the accepted episodes as PNG: length, duration, speed, ways to goals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.validation.multimodality import Modes

_BARS = 30
_COLOUR = "#4477aa"


def draw_histograms(
    path: Path,
    samples: Sequence[int],
    durations_s: Sequence[float],
    speeds_rad_s: Sequence[float],
    modes: Modes | None,
) -> None:
    """Draw the distributions of the accepted episodes, and of the ends at similar goals.

    Args:
        path: the PNG file to write.
        samples: samples of each episode.
        durations_s: duration of each, s.
        speeds_rad_s: largest joint speed of each, rad/s.
        modes: ways to similar goals; None omits their histogram.
    """
    panels = 3 if modes is None else 4
    width = 3.3 * panels
    figure = Figure(figsize=(width, 3))
    FigureCanvasAgg(figure)
    # Inches for the labels; a layout found by drawing twice would take as long as 1,000 plans.
    figure.subplots_adjust(0.75 / width, 0.16, 1 - 0.15 / width, 0.88, wspace=0.42)
    figure.suptitle(f"{len(samples):,} accepted episodes", fontsize="medium")
    rows: tuple[tuple[str, Sequence[float]], ...] = (
        ("samples", samples),
        ("duration, s", durations_s),
        ("largest joint speed, rad/s", speeds_rad_s),
    )
    panes = list(figure.subplots(1, panels))
    for axes, (label, values) in zip(panes, rows, strict=False):
        axes.stairs(*np.histogram(values, _edges(np.asarray(values))), fill=True, color=_COLOUR)
        axes.set_xlabel(label)
        axes.set_ylabel("episodes")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    if modes is not None:
        _draw_modes(panes[-1], modes)
    # Without the version of the library the same episodes give the same bytes.
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _edges(values: NDArray[np.integer[Any] | np.floating[Any]]) -> NDArray[np.float64]:
    """Edges of a histogram's bars, with whole numbers in the middle of a bar."""
    if np.issubdtype(values.dtype, np.integer):
        low, high = int(values.min()), int(values.max())
        step = max(1, -(-(high - low + 1) // _BARS))
        whole: NDArray[np.float64] = np.arange(low, high + step + 1, step, dtype=np.float64)
        return whole - 0.5
    number = len(np.histogram_bin_edges(values, "auto")) - 1 if np.ptp(values) > 0 else 1
    edges: NDArray[np.float64] = np.histogram_bin_edges(values, min(number, _BARS))
    return edges


def _draw_modes(axes: Axes, modes: Modes) -> None:
    names = [f"{index + 1}" for index in range(len(modes.joint_other_share))]
    shares = [100 * share for share in modes.joint_other_share]
    axes.bar(names, shares, color=_COLOUR)
    axes.set_ylim(0, 100)
    axes.set_xlabel("joint")
    axes.set_ylabel("neighbours end elsewhere, %")
    axes.spines[["top", "right"]].set_visible(False)
