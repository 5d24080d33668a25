"""Draws docs/images/reach.gif: a trained policy reaches pens that no demonstration shows.

Run it from the repository's root after `make repro`: python docs/reach.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.evaluation.draw import draw_trials
from pipeline.evaluation.rollout import Loop
from pipeline.layout import Layout
from pipeline.params import load_params
from pipeline.policy import DiffusionPolicy
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner, seed_planning
from pipeline.robot.render import render
from pipeline.robot.simulator import Simulator

PANELS, TURNS = 3, 2
"""Rollouts side by side, and how many times that many follow each other."""
SEED = 31337
"""No demonstration and no choice of a parameter has seen these pens."""
STEPS, EVERY = 60, 2
"""Control steps of a rollout, and how many of them one frame stands for."""
HOLD_FRAMES = 8
"""Repetitions of the last frame of a rollout."""
SIZE = (290, 320)
"""Width and height of a panel, pixels."""
GAP = 3
"""White columns between two panels."""
COLOURS = 128
HIGHEST_M = (0.3, 0.0, 0.85)
"""A point above the arm at home, base frame."""


def main(model: str = "artifacts/train/best_model.pt", out: str = "docs/images/reach.gif") -> None:
    """Roll the policy out on a few pens and write one animated GIF.

    Args:
        model: checkpoint.
        out: picture to write.
    """
    params = load_params(Path("params.yaml"))
    policy = DiffusionPolicy.from_checkpoint(Path(model), device="cpu")
    rate_hz = policy.checkpoint.config["rate_hz"]
    seed_planning(SEED)
    planner = Planner(params.robot, params.task, params.collect)
    trials = draw_trials(planner, params.task, PANELS * TURNS, SEED)
    loop = Loop(
        Simulator(params.robot, rate_hz, params.evaluate.physics_steps),
        RobotModel.from_params(params.robot), Layout.from_params(params), policy.horizon,
        policy.n_obs_steps, params.execution, rate_hz,
    )  # fmt: skip
    rollouts = loop.run(
        lambda obs, noise: np.asarray(policy.predict(obs, noise), float), trials, STEPS, SEED
    )
    chosen = np.r_[0:STEPS:EVERY, np.full(HOLD_FRAMES, STEPS - 1)]
    joint_pos = rollouts.joint_pos[:, chosen].reshape(-1, rollouts.joint_pos.shape[2])
    object_pos = np.repeat(trials.object_pos, len(chosen), axis=0)
    object_axis = np.repeat(trials.object_axis, len(chosen), axis=0)
    # The camera frames all poses. One more with a high pen, dropped below, leaves room at the top.
    pictures = render(
        params.robot, params.task, np.vstack([joint_pos, joint_pos[:1]]),
        np.vstack([object_pos, [HIGHEST_M]]), np.vstack([object_axis, [[0, 0, 1]]]), SIZE,
    )  # fmt: skip
    if pictures.frames is None:
        raise SystemExit(f"nothing renders here: {pictures.how}")
    frames = pictures.frames[:-1].reshape(TURNS, PANELS, len(chosen), *pictures.frames.shape[1:])
    frames[:, :-1, ..., -GAP:, :] = 255
    rows = np.concatenate(list(frames.swapaxes(0, 1)), axis=3)
    rows = rows.reshape(-1, *rows.shape[2:])
    images = [Image.fromarray(row) for row in rows]
    # One palette for all frames and no dithering: what stands still then costs nothing.
    palette = images[len(chosen) - 1].quantize(COLOURS)
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    flat[0].save(
        out, save_all=True, append_images=flat[1:], loop=0,
        duration=round(1000 * EVERY / rate_hz), optimize=True,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
