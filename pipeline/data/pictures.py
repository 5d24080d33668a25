"""Pictures of what was ingested: histograms of length, duration and speed as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_BARS = 30


def draw_histograms(
    path: Path,
    samples: Sequence[int],
    durations_s: Sequence[float],
    speeds_rad_s: Sequence[float],
) -> None:
    """Draw the spread of the accepted episodes.

    Args:
        path: the PNG file to write.
        samples: samples of each episode.
        durations_s: duration of each, s.
        speeds_rad_s: largest joint speed of each, rad/s.
    """
    figure = Figure(figsize=(10, 3), layout="constrained")
    FigureCanvasAgg(figure)
    rows: tuple[tuple[str, Sequence[float]], ...] = (
        ("samples", samples),
        ("duration, s", durations_s),
        ("largest joint speed, rad/s", speeds_rad_s),
    )
    for axes, (label, values) in zip(figure.subplots(1, len(rows)), rows, strict=True):
        axes.hist(values, bins=_BARS, color="#4477aa")
        axes.set_xlabel(label)
        axes.set_ylabel("episodes")
        axes.spines[["top", "right"]].set_visible(False)
    # Nothing of the date or the library goes into the file: the same episodes, the same bytes.
    figure.savefig(path, dpi=100, metadata={"Software": None})
