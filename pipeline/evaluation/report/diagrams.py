"""Draws diagrams as inline SVG; text stays text, and colours follow the page's theme.

N rollouts, T control steps, E episodes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from pipeline.dataset.store import Dataset
from pipeline.dataset.windows import episode_starts
from pipeline.evaluation import metrics
from pipeline.evaluation.failures import Demonstrations
from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.report import panels
from pipeline.evaluation.report.plots import STYLE
from pipeline.evaluation.trials import Trials
from pipeline.params import TaskParams
from pipeline.robot.arrangement import scene_obstacles

Array = NDArray[np.float64]
INK = "#010203"
"""Placeholder for the page's text colour while matplotlib draws."""
THEME = {
    INK: "var(--ink)",
    panels.GOOD: "var(--good)",
    panels.BAD: "var(--bad)",
    panels.EXPERT: "var(--expert)",
    panels.OBJECT: "var(--object)",
    panels.OBSTACLE: "var(--obstacle)",
}
SVG_STYLE: Any = {
    **STYLE,
    "svg.fonttype": "none",
    "savefig.bbox": None,
    "grid.alpha": 0.12,
    **dict.fromkeys(
        (
            "text.color",
            "axes.labelcolor",
            "axes.edgecolor",
            "xtick.color",
            "ytick.color",
            "grid.color",
        ),
        INK,
    ),
}
WIDE, MEDIUM, SMALL = (4.9, 3.0), (3.6, 2.8), (3.0, 1.9)
"""Inches; a third or a half of a page that shrinks to a phone's width."""
LEFT, RIGHT, BOTTOM, TOP = 0.76, 0.12, 0.58, 0.30
"""Margins around the axes, inches; automatic layout would take twice the time."""


@dataclass(frozen=True)
class Figure:
    """A diagram and its caption, which states n."""

    svg: str
    caption: str


def inline(
    draw: Callable[[Axes], None],
    caption: str,
    size: tuple[float, float] = WIDE,
    left: float = LEFT,
) -> Figure:
    """Draw one diagram as SVG for a page with other diagrams.

    Args:
        draw: draws onto the axes.
        caption: caption of the diagram.
        size: width and height, inches.
        left: margin for the labels of the y axis, inches.
    """
    width, height = size
    # Identifiers must differ between diagrams of a page and be equal in every run.
    salt = re.sub(r"\W+", "-", caption.lower()).strip("-")
    with plt.rc_context({**SVG_STYLE, "svg.hashsalt": salt}):
        figure, axes = plt.subplots(figsize=size)
        figure.subplots_adjust(left / width, BOTTOM / height, 1 - RIGHT / width, 1 - TOP / height)
        draw(axes)
        # Labels of minor ticks on a log axis would double the drawing time.
        axes.yaxis.set_minor_formatter(NullFormatter())
        if axes.get_legend_handles_labels()[0]:
            # Above the axes, so that it hides no point.
            axes.legend(
                frameon=False, fontsize=7.5, ncols=4,
                loc="lower left", bbox_to_anchor=(-0.05, 1.0), columnspacing=0.9,
                handlelength=1.3, handletextpad=0.4, borderpad=0, markerscale=1.4,
            )  # fmt: skip
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 role="img"', text, count=1)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{salt}-", text)
    for colour, variable in THEME.items():
        text = re.sub(colour, variable, text, flags=re.I)
    return Figure(text, caption)


def workspace(
    trials: Trials, task: TaskParams, policy: ClosedLoop, known: Demonstrations
) -> list[Figure]:
    """Draw successes and failures over the workspace and over tilt.

    Args:
        trials: N objects.
        task: the object's length, the strict tolerance and the scene, which is drawn too.
        policy: judged rollouts of the policy.
        known: the training episodes, drawn in the background.
    """
    passed, final_mm = policy.passed["strict"], policy.error.cap_m[:, -1] * 1000
    cap = metrics.object_cap(trials.object_pos, trials.object_axis, task.object_length_m)
    taught = metrics.object_cap(known.object_pos, known.object_axis, task.object_length_m)
    tilt = np.degrees(np.arccos(np.clip(trials.object_axis[:, 2], -1, 1)))
    count = f"n = {len(passed)}"

    def place(axis: Axes, first: int, second: int) -> None:
        axis.scatter(
            taught[:, first], taught[:, second], s=3, c=panels.EXPERT, alpha=0.25, lw=0,
            label=f"training ({len(taught)})",
        )  # fmt: skip
        panels.reached(axis, cap[:, first], cap[:, second], passed)
        panels.obstacles(axis, scene_obstacles(task), first, second)
        axis.set(xlabel=f"cap {'xyz'[first]}, m", ylabel=f"cap {'xyz'[second]}, m")
        axis.set_aspect("equal", adjustable="datalim")

    def tilted(axis: Axes) -> None:
        panels.reached(axis, tilt, final_mm, passed)
        axis.axhline(task.strict_m * 1000, color=panels.EXPERT, lw=1, ls="--")
        axis.set(xlabel="tilt, degrees", ylabel="final error, mm", yscale="log")

    return [
        inline(partial(place, first=0, second=1), f"From above, strict success, {count}", MEDIUM),
        inline(
            partial(place, first=0, second=2), f"From the side, strict success, {count}", MEDIUM
        ),
        inline(tilted, f"Final error over tilt, dashed the strict tolerance, {count}", MEDIUM),
    ]


def over_time(policy: ClosedLoop, expert: ClosedLoop, rate_hz: float) -> list[Figure]:
    """Draw distance and angle over time.

    Args:
        policy: judged rollouts of the policy.
        expert: judged rollouts of the expert.
        rate_hz: control steps per second.
    """
    ours, theirs = policy.error, expert.error
    found = []
    for values, others, label, unit, floor in (
        (ours.cap_m * 1000, theirs.cap_m * 1000, "Distance from the cap", "mm", 0.1),
        (ours.angle_deg, theirs.angle_deg, "Angle to the object's axis", "degrees", 0.01),
    ):

        def draw(
            axis: Axes, values: Array = values, others: Array = others, unit: str = unit,
            floor: float = floor,
        ) -> None:  # fmt: skip
            panels.error(axis, values, others, rate_hz, floor)
            axis.set_ylabel(unit)

        found.append(inline(draw, f"{label} over time, n = {len(values)}"))
    return found


def joint_curves(
    policy: ClosedLoop, expert: ClosedLoop, joints: tuple[str, ...], trial: int, rate_hz: float
) -> list[Figure]:
    """Draw every joint of one rollout beside the expert's.

    Args:
        policy: judged rollouts of the policy.
        expert: judged rollouts of the expert.
        joints: joint names.
        trial: index of the rollout.
        rate_hz: control steps per second.
    """

    def draw(axis: Axes, joint: int) -> None:
        panels.joint_curve(axis, policy.rollouts, expert.rollouts, trial, joint, rate_hz)
        axis.set(xlabel="time, s", ylabel="rad")

    return [
        inline(partial(draw, joint=joint), f"{name}, trial {trial}, n = 1", SMALL)
        for joint, name in enumerate(joints)
    ]


def open_loop(result: OpenLoop, joints: tuple[str, ...]) -> list[Figure]:
    """Draw open-loop errors by joint and by step of the chunk.

    Args:
        result: the comparison with the expert.
        joints: joint names.
    """
    windows, episodes = result.summary["windows"], result.summary["episodes"]
    count = f"n = {windows} windows of {episodes} test episodes"
    return [
        inline(lambda axis: panels.joint_errors(axis, result, joints), f"By joint, {count}"),
        inline(lambda axis: panels.step_errors(axis, result), f"By step of the chunk, {count}"),
    ]


def losses(history: Mapping[str, Array]) -> list[Figure]:
    """Draw the training curves.

    Args:
        history: columns epoch, train_loss and val_loss, shape (K,) each.
    """
    epoch, train, val = (history[name] for name in ("epoch", "train_loss", "val_loss"))
    caption = f"Training and validation loss, n = {len(epoch)} epochs"
    return [inline(lambda axis: panels.losses(axis, epoch, train, val), caption)]


def episode_statistics(dataset: Dataset, rate_hz: float) -> list[Figure]:
    """Draw duration, peak speed and path length of the episodes of a data set.

    Args:
        dataset: data set with all splits.
        rate_hz: control steps per second.
    """
    joint_pos = dataset.layout.unpack(dataset.state, "joint_pos").astype(np.float64)
    starts = episode_starts(dataset.episode_ends)
    moves = [
        np.diff(joint_pos[start:end], axis=0)
        for start, end in zip(starts, dataset.episode_ends, strict=True)
    ]
    seconds = (dataset.episode_ends - starts) / rate_hz
    speed = np.array([np.abs(move).max(initial=0.0) * rate_hz for move in moves])
    length = np.array([np.linalg.norm(move, axis=1).sum() for move in moves])
    count = f"n = {dataset.num_episodes} episodes"
    panels_of = (
        (seconds, "duration with the hold at the end, s", "Duration"),
        (speed, "fastest joint, rad/s", "Peak joint speed"),
        (length, "path in joint space, rad", "Length of the way"),
    )
    return [
        inline(partial(panels.histogram, values=values, label=label), f"{title}, {count}", MEDIUM)
        for values, label, title in panels_of
    ]


def robustness(rows: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    """Draw strict success without contact under each variation.

    Args:
        rows: entries by name with n, success_collision_free and ci95_collision_free.
    """
    share, low, high = (
        np.array(values, dtype=np.float64)
        for values in zip(
            *(
                (row["success_collision_free"], *row["ci95_collision_free"])
                for row in rows.values()
            ),
            strict=True,
        )
    )
    counts = sorted({int(row["n"]) for row in rows.values()})
    caption = (
        f"Strict and free of contact, nothing retrained, n = {' or '.join(map(str, counts))} each"
    )
    names = [name.replace("_", " ") for name in rows]
    size, left = (5.2, TOP + BOTTOM + 0.26 * len(names)), 0.3 + 0.075 * max(map(len, names))
    return [
        inline(lambda axis: panels.intervals(axis, names, share, low, high), caption, size, left)
    ]
