"""Tests films: rendered if graphics work, otherwise drawn to scale."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluation.report import films
from pipeline.evaluation.rollout import Rollouts
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.obstacles import box
from pipeline.params import Params
from pipeline.robot.model import RobotModel


@pytest.fixture(scope="module")
def expert(params: Params, trials: Trials) -> Rollouts:
    joint_pos = expert_commands(trials, 30.0, 40)
    pose = RobotModel.from_params(params.robot).fk(joint_pos)
    return Rollouts(joint_pos, joint_pos, pose, joint_pos)


@pytest.fixture(scope="module")
def still(expert: Rollouts) -> Rollouts:
    parts = (expert.joint_pos, expert.command, expert.ee_pose, expert.motion)
    return Rollouts(*(np.repeat(part[:, :1], 40, axis=1) for part in parts))


def test_stick_figures_are_drawn_if_rendering_fails(
    params: Params, trials: Trials, still: Rollouts, expert: Rollouts
) -> None:
    made, how = films.films(params, trials, still, expert, [2, 0], 30.0, ("nonsense",))
    assert "stick figures" in how
    assert "nonsense" in how
    assert [item.trial for item in made] == [2, 0]
    assert len(made[0].seconds) == films.FRAMES
    assert made[0].seconds[-1] == pytest.approx(40 / 30, abs=1e-3)
    side = made[0].sticks["from the side"]
    assert len(set(side.policy)) == 1, "it stands still"
    assert len(set(side.expert)) > 5
    # The last point is the grasp centre: at the end the expert's is at the cap (mm, y down).
    x, y = (float(number) for number in side.expert[-1].split()[-1].split(","))
    cap = trials.object_pos[2] + trials.object_axis[2] * params.task.object_length_m / 2
    assert (x, -y) == pytest.approx((cap[0] * 1000, cap[2] * 1000), abs=2)
    left, top, width, height = (float(number) for number in side.view_box.split())
    assert left < x < left + width
    assert top < y < top + height


def test_rendered_films_are_strips_of_all_frames(
    params: Params, trials: Trials, still: Rollouts, expert: Rollouts
) -> None:
    short = [
        Rollouts(r.joint_pos[:, ::10], r.command[:, ::10], r.ee_pose[:, ::10], r.motion)
        for r in (still, expert)
    ]
    made, how = films.films(params, trials, short[0], short[1], [1], 3.0)
    if "MuJoCo" not in how or made[0].sticks:
        pytest.skip(how)
    assert made[0].strips.keys() == {"policy", "expert"}
    content = base64.b64decode(made[0].strips["expert"].partition("base64,")[2])
    assert Image.open(io.BytesIO(content)).size == (4 * films.SIZE[0], films.SIZE[1])


def test_no_trials_give_no_films(params: Params, trials: Trials, expert: Rollouts) -> None:
    assert films.films(params, trials, expert, expert, [], 30.0)[0] == []


def test_films_show_each_trial_s_own_obstacles(
    params: Params, trials: Trials, still: Rollouts, expert: Rollouts
) -> None:
    own = (np.zeros((0, 12)), np.zeros((0, 12)), box([0.4, 0.2, 0.5], [0.1, 0.1, 0.2])[None])
    arranged = replace(trials, obstacles=own)
    drawn, _ = films.films(params, arranged, still, expert, [2, 0], 30.0, ("nonsense",))
    for view, up in (("from the side", (-600, -400)), ("from above", (-250, -150))):
        (polygon,) = drawn[0].sticks[view].obstacles
        corners = np.array([point.split(",") for point in polygon.split()], int)
        assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == (
            [350, up[0]], [450, up[1]],
        )  # fmt: skip
        assert drawn[1].sticks[view].obstacles == []
    short = [
        Rollouts(r.joint_pos[:, :1], r.command[:, :1], r.ee_pose[:, :1], r.motion)
        for r in (still, expert)
    ]
    # All films share one camera, which shows the centres of all obstacles.
    small = replace(arranged, obstacles=(*own[:2], box([0.4, 0.2, 0.5], [0.05, 0.05, 0.1])[None]))
    free, how = films.films(params, small, short[0], short[1], [2, 0], 3.0)
    full, _ = films.films(params, arranged, short[0], short[1], [2, 0], 3.0)
    if not free[0].strips:
        pytest.skip(how)
    for who in ("policy", "expert"):
        assert free[0].strips[who] != full[0].strips[who]
        assert free[1].strips[who] == full[1].strips[who]
