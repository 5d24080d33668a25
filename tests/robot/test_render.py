"""Rendering gives frames where graphics work, otherwise a reason, and never crashes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.obstacles import pad, sphere
from pipeline.params import Params
from pipeline.robot.render import Pictures, render

SIZE = (96, 80)


def _render(params: Params, joint_pos: np.ndarray, platforms: tuple[str, ...]) -> Pictures:
    count = len(joint_pos)
    position, axis = np.tile([0.4, 0.0, 0.3], (count, 1)), np.tile([0.0, 0.0, 1.0], (count, 1))
    position[-1] = [0.5, 0.1, 0.4]
    return render(params.robot, params.task, joint_pos, position, axis, SIZE, platforms)


def test_a_missing_platform_gives_a_reason(params: Params) -> None:
    pictures = _render(params, np.array([params.robot.home_rad]), ("nonsense",))
    assert pictures.frames is None
    assert pictures.how.startswith("nonsense: ")
    assert "MUJOCO_GL" in pictures.how


def test_frames_show_the_pose(params: Params) -> None:
    home = np.array(params.robot.home_rad)
    turned = home + np.array([0.8, 0, 0, 0, 0, 0])
    pictures = _render(params, np.stack([home, turned, home, home]), ("egl", "osmesa"))
    if pictures.frames is None:
        pytest.skip(f"no off-screen graphics here: {pictures.how}")
    assert pictures.frames.shape == (4, SIZE[1], SIZE[0], 3)
    first, second, third, moved = pictures.frames.astype(int)
    assert np.array_equal(first, third)
    assert np.abs(first - second).max() > 50
    assert np.abs(first - moved).max() > 50, "the object stands elsewhere"
    assert "MuJoCo off screen" in pictures.how


def test_each_frame_shows_its_own_obstacles(params: Params) -> None:
    home = np.tile(params.robot.home_rad, (3, 1))
    place, axis = np.tile([0.4, 0.0, 0.3], (3, 1)), np.tile([0.0, 0.0, 1.0], (3, 1))
    ball = pad(sphere([0.4, 0.2, 0.4], 0.08)[None], 2)
    around = np.stack([ball, pad(np.zeros((0, 12)), 2), ball])
    found = render(params.robot, params.task, home, place, axis, SIZE, obstacles=around)
    if found.frames is None:
        pytest.skip(f"no off-screen graphics here: {found.how}")
    first, second, third = found.frames.astype(int)
    assert np.array_equal(first, third)
    changed = np.abs(first - second).max(axis=2) > 20
    assert 0.01 < changed.mean() < 0.2, "a ball of 16 cm"
