"""Renders the arm with MuJoCo off screen, if the machine has EGL or OSMesa.

A child process renders, so that a missing or crashing graphics library gives a reason instead of
frames and does not end the caller.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS, Array, rotations, simple_shape, used
from pipeline.params import RobotParams, TaskParams
from pipeline.robot.arrangement import scene_obstacles
from pipeline.robot.description import urdf_text
from pipeline.robot.model import RobotModel

PLATFORMS = ("egl", "osmesa")
"""MuJoCo's off-screen platforms on Linux, with and without a GPU, in the order of attempts."""
TIMEOUT_S = 120
WORKER = "pipeline.robot.render_worker"


@dataclass(frozen=True)
class Pictures:
    """Rendered frames, or the reason why there are none."""

    frames: NDArray[np.uint8] | None
    """RGB, shape (F, height, width, 3)."""
    how: str
    """The platform that rendered them, or the error of each platform."""


def render(
    robot: RobotParams,
    task: TaskParams,
    joint_pos: Array,
    object_pos: Array,
    object_axis: Array,
    size: tuple[int, int],
    platforms: tuple[str, ...] = PLATFORMS,
    obstacles: Array | None = None,
) -> Pictures:
    """Render the arm, the object and the obstacles, one frame per pose.

    Args:
        robot: description file and joints.
        task: size of the object, height of the table, obstacles of the scene.
        joint_pos: rad. Shape (F, J).
        object_pos: centres, m, base frame. Shape (F, 3).
        object_axis: unit axes, base frame. Shape (F, 3).
        size: width and height of a frame, pixels.
        platforms: values of MUJOCO_GL to try.
        obstacles: obstacles of each frame in addition to those of the scene. Shape (F, K, 12).
    """
    model = RobotModel.from_params(robot)
    base = model.world_base
    cap = object_pos + object_axis * task.object_length_m
    own = np.zeros((len(joint_pos), 0, COLUMNS)) if obstacles is None else obstacles
    rows = [np.concatenate([scene_obstacles(task), used(each)]) for each in own]
    arms = [model.link_positions(pose) for pose in joint_pos]
    points = np.concatenate([*arms, cap, *(each[:, :3] for each in rows)])
    low, high = points.min(axis=0), points.max(axis=0)
    reasons = []
    with tempfile.TemporaryDirectory() as folder:
        given, drawn = Path(folder) / "task.npz", Path(folder) / "frames.npy"
        np.savez(
            given,
            urdf=urdf_text(robot.urdf),
            joints=np.array(robot.joints),
            joint_pos=joint_pos,
            object_pos=object_pos @ base.rotation.T + base.translation,
            object_axis=object_axis @ base.rotation.T,
            length_m=task.object_length_m,
            radius_m=task.object_radius_m,
            table_m=task.table_height_m + base.translation[2],
            **_shapes(base, rows),
            centre=base.rotation @ ((low + high) / 2) + base.translation,
            # Smaller than the sphere around all that moves, because its rim is empty.
            extent_m=0.42 * np.linalg.norm(high - low),
            width=size[0],
            height=size[1],
        )
        for platform in platforms:
            reason = _run(platform, given, drawn)
            if reason is None:
                return Pictures(np.load(drawn), f"MuJoCo off screen ({platform})")
            reasons.append(f"{platform}: {reason}")
    return Pictures(None, "; ".join(reasons))


def _shapes(base: pin.SE3, rows: list[Array]) -> dict[str, Any]:
    """List the obstacles of all frames with frame, kind, sizes, place and orientation."""
    every = np.concatenate(rows)
    shapes = [simple_shape(row) for row in every]
    return {
        "shape_frame": np.repeat(np.arange(len(rows)), [len(each) for each in rows]),
        "shape_kind": np.array([kind for kind, _ in shapes], dtype=str),
        "shape_size_m": np.array([size for _, size in shapes]).reshape(-1, 3),
        "shape_centre": every[:, :3] @ base.rotation.T + base.translation,
        "shape_turn": base.rotation @ rotations(every[:, 3:7]),
    }


def _run(platform: str, given: Path, drawn: Path) -> str | None:
    """Render in a child process; return the last line of its error, or None on success."""
    command = [sys.executable, "-m", WORKER, str(given), str(drawn)]
    # The package may have been imported from any folder, and the child must import the same one.
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
            env={**os.environ, "MUJOCO_GL": platform, "PYTHONPATH": paths},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no picture after {TIMEOUT_S} s"
    if child.returncode == 0 and drawn.is_file():
        return None
    lines = child.stderr.strip().splitlines()
    return lines[-1] if lines else f"ended with {child.returncode}"
