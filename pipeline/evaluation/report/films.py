"""Makes films of rollouts beside the expert's, rendered by MuJoCo or drawn as stick figures.

K frames of a film, J joints, L points of the arm.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.evaluation.report.outlines import outline, trial_obstacles, wireframe
from pipeline.evaluation.rollout import Rollouts
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.robot.render import PLATFORMS, render

Array = NDArray[np.float64]
FRAMES = 24
"""Frames of a film: eight a second for a rollout of three seconds."""
SIZE = (264, 208)
"""Width and height of a rendered frame, pixels; a strip of FRAMES stays below WebP's 16,383."""
QUALITY = 70
"""WebP quality, 0 to 100; a strip takes about 50 kB."""
VIEWS = {"from the side": (0, 2), "from above": (0, 1)}
"""Stick figures: the axes of the base frame that point right and up."""


@dataclass(frozen=True)
class Sticks:
    """A stick-figure film in one view, as SVG coordinates in mm (y points down)."""

    view_box: str
    policy: list[str]
    """Attribute `points` of a polyline, one per frame."""
    expert: list[str]
    target: str
    """The object."""
    obstacles: list[str]
    """Attribute `points` of a polygon, one per obstacle."""


@dataclass(frozen=True)
class Film:
    """One rollout and the expert's, in K frames."""

    trial: int
    seconds: list[float]
    """Time of each frame, s."""
    strips: dict[str, str]
    """Rendered frames side by side as data URIs, `policy` and `expert`; empty for drawn films."""
    sticks: dict[str, Sticks]
    """Stick figures by view; empty for rendered films."""


def films(
    params: Params,
    trials: Trials,
    policy: Rollouts,
    expert: Rollouts,
    chosen: list[int],
    rate_hz: float,
    platforms: tuple[str, ...] = PLATFORMS,
) -> tuple[list[Film], str]:
    """Make films of some rollouts.

    Args:
        params: sections robot and task.
        trials: N objects.
        policy: rollouts of the policy.
        expert: rollouts of the expert's replay.
        chosen: trials to show.
        rate_hz: control steps per second.
        platforms: off-screen platforms to try.

    Returns:
        The films, and how they were made (with the reason if rendering failed).
    """
    steps = policy.joint_pos.shape[1]
    instants = np.linspace(0, steps - 1, min(FRAMES, steps)).round().astype(int)
    seconds = ((instants + 1) / rate_hz).round(3).tolist()
    if not chosen:
        return [], "none was asked for"
    motion = np.stack(
        [rollouts.joint_pos[chosen][:, instants] for rollouts in (policy, expert)], axis=1
    )
    shown = motion.shape[:3]
    position, axis = (
        np.broadcast_to(values[chosen][:, None, None], (*shown, 3)).reshape(-1, 3)
        for values in (trials.object_pos, trials.object_axis)
    )
    joints = motion.reshape(-1, motion.shape[-1])
    around = np.broadcast_to(
        trials.padded()[chosen][:, None, None], (*shown, *trials.padded().shape[1:])
    )
    pictures = render(
        params.robot, params.task, joints, position, axis, SIZE, platforms,
        around.reshape(len(joints), *around.shape[3:]),
    )  # fmt: skip
    if pictures.frames is None:
        drawn = _sticks(params, trials, motion, chosen)
        made = [Film(trial, seconds, {}, drawn[i]) for i, trial in enumerate(chosen)]
        return made, f"stick figures, since nothing renders here ({pictures.how})"
    frames = pictures.frames.reshape(*shown, *pictures.frames.shape[1:])
    made = [
        Film(trial, seconds, {"policy": _strip(pair[0]), "expert": _strip(pair[1])}, {})
        for trial, pair in zip(chosen, frames, strict=True)
    ]
    return made, pictures.how


def _strip(frames: NDArray[np.uint8]) -> str:
    """Frames (K, height, width, 3) side by side, as a WebP data URI."""
    row = np.concatenate(list(frames), axis=1)
    buffer = io.BytesIO()
    Image.fromarray(row).save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _sticks(
    params: Params, trials: Trials, motion: Array, chosen: list[int]
) -> list[dict[str, Sticks]]:
    """Draw stick figures of motions (films, 2, K, J) at a common scale."""
    model = RobotModel.from_params(params.robot)
    flat = motion.reshape(-1, motion.shape[-1])
    arms = np.stack([model.link_positions(pose) for pose in flat])
    arms = arms.reshape(*motion.shape[:3], *arms.shape[1:]) * 1000
    half = trials.object_axis[chosen] * params.task.object_length_m / 2
    ends = np.stack([trials.object_pos[chosen] - half, trials.object_pos[chosen] + half], 1) * 1000
    around = [trial_obstacles(params.task, trials, trial) for trial in chosen]
    lines = [1000 * line for rows in around for row in rows for line in wireframe(row)]
    every = np.concatenate([arms.reshape(-1, 3), ends.reshape(-1, 3), *lines])
    low, high = every.min(axis=0) - 40, every.max(axis=0) + 40
    made = []
    for arm, end, obstacles in zip(arms, ends, around, strict=True):
        views = {}
        for name, (right, up) in VIEWS.items():
            width, height = high[right] - low[right], high[up] - low[up]
            views[name] = Sticks(
                f"{low[right]:.0f} {-high[up]:.0f} {width:.0f} {height:.0f}",
                [_points(frame, right, up) for frame in arm[0]],
                [_points(frame, right, up) for frame in arm[1]],
                _points(end, right, up),
                [_points(outline(row, right, up) * 1000, 0, 1) for row in obstacles],
            )
        made.append(views)
    return made


def _points(points: Array, right: int, up: int) -> str:
    return " ".join(f"{point[right]:.0f},{-point[up]:.0f}" for point in points)
