"""Draws docs/images/repaired_*.png and arrangement.png: chunks before and after the guard's repair.

Run it from the repository's root after `make repro`: python docs/repaired.py
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from PIL import Image

from pipeline.evaluation.draw import draw_trials
from pipeline.evaluation.execution import make_guard
from pipeline.evaluation.report import panels
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.obstacles import pad
from pipeline.params import Params, load_params
from pipeline.policy import DiffusionPolicy
from pipeline.policy.observation import obstacle_slots
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner, seed_planning
from pipeline.robot.render import render
from pipeline.robot.simulator import Simulator
from pipeline.runtime.guard.guard import Guard

Array = NDArray[np.float64]
TRIALS, SEED, STEPS = 40, 31337, 60
"""Rollouts to search, their seed, and control steps of each."""
PICTURES = 3
NUMBER = (3, 6)
"""Smallest and largest number of obstacles."""
SIZE = (560, 440)
"""Width and height of a rendered view, pixels."""
GHOST = 0.45
"""Share of the arm on the policy's own chunk in the mixed picture."""
WORDS = {0: "x", 1: "y", 2: "z"}


@dataclass(frozen=True)
class Repaired:
    """A chunk that the guard repaired."""

    trial: int
    touching: str
    """What would have come too near."""
    start: Array
    """Joint positions at its start, rad. Shape (J,)."""
    before: Array
    """Motion that the policy's chunk would have caused, rad. Shape (K, J)."""
    after: Array
    """The same for the repaired chunk."""


class WatchedGuard:
    """Passes chunks to a guard and keeps those that it repaired."""

    def __init__(self, guard: Guard) -> None:
        """Watch a guard.

        Args:
            guard: does the work.
        """
        self._guard = guard
        self.found: list[Repaired] = []

    def __getattr__(self, name: str) -> Any:
        """Offer all else that the guard offers."""
        return getattr(self._guard, name)

    def review(self, plan: Array, limiter: Any, *others: Any) -> Array:
        """Review plans as the guard does.

        Args:
            plan: rad. Shape (N, K, J).
            limiter: the limiter of these robots.
            others: the guard's other arguments.
        """
        chosen = self._guard.review(plan, limiter, *others)
        last = self._guard.report().last
        given = signature(self._guard.review).bind(plan, limiter, *others).arguments
        robots = given["robots"].tolist()
        for row, robot in enumerate(robots):
            if last[robot].verdict == "repaired":
                one = np.array([row])
                motions = [limiter.preview(each[one], one)[0] for each in (plan, chosen)]
                start = limiter.position[row].copy()
                names = f"{last[robot].first} and {last[robot].second}"
                self.found.append(Repaired(robot, names, start, *motions))
        return chosen


def main(
    model: str = "artifacts/train/best_model.pt", out: str = "docs/images",
    params_path: str = "params.yaml",
) -> None:  # fmt: skip
    """Roll the policy out among obstacles and draw the chunks that were changed most.

    Args:
        model: checkpoint.
        out: folder to write.
        params_path: parameters; the number of obstacles is replaced.
    """
    params = load_params(Path(params_path))
    arrangement = {**params.task.arrangement.model_dump(), "number": NUMBER}
    params = params.override("task", arrangement=arrangement)
    policy = DiffusionPolicy.from_checkpoint(Path(model), device="cpu")
    rate_hz = policy.checkpoint.config["rate_hz"]
    seed_planning(SEED)
    planner = Planner(params.robot, params.task, params.collect)
    trials = draw_trials(planner, params.task, TRIALS, SEED)
    robot = RobotModel.from_params(params.robot)
    guard: Any = WatchedGuard(make_guard(params, robot))  # type: ignore[arg-type]
    loop = Loop(
        Simulator(params.robot, rate_hz, params.evaluate.physics_steps), robot,
        Layout.from_params(params), policy.horizon, policy.n_obs_steps, params.execution, rate_hz,
        guard, obstacle_slots(policy.checkpoint.config),
    )  # fmt: skip
    loop.run(lambda obs, noise: np.asarray(policy.predict(obs, noise), float), trials, STEPS, SEED)
    largest: dict[int, Repaired] = {}
    for each in guard.found:
        if each.trial not in largest or _change(each, robot) > _change(largest[each.trial], robot):
            largest[each.trial] = each
    chosen = sorted(largest.values(), key=lambda each: -_change(each, robot))[:PICTURES]
    for number, each in enumerate(chosen, start=1):
        _draw(Path(out) / f"repaired_{number}.png", params, trials, each, robot)
    _arrangement(Path(out) / "arrangement.png", params, trials)


def _change(each: Repaired, robot: RobotModel) -> float:
    """Largest distance by which the repair moves the TCP, m."""
    apart = robot.fk(each.after)[:, :3] - robot.fk(each.before)[:, :3]
    return float(np.linalg.norm(apart, axis=1).max())


def _draw(path: Path, params: Params, trials: Trials, each: Repaired, robot: RobotModel) -> None:
    rows = trials.around(each.trial)
    checker = CollisionChecker(params.robot, params.task)
    checker.place_obstacles(rows)
    clearances = [1000 * checker.clearance(motion) for motion in (each.before, each.after)]
    # The pose at which the policy's own chunk comes nearest to an obstacle.
    nearest = int(np.argmin([checker.clearance(pose[None]) for pose in each.before]))
    poses = np.stack([each.before[nearest], each.after[nearest]])
    where = trials.object_pos[each.trial], trials.object_axis[each.trial]
    pictures = render(
        params.robot, params.task, poses, *(np.tile(value, (2, 1)) for value in where), SIZE,
        obstacles=np.repeat(rows[None], 2, axis=0),
    )  # fmt: skip
    if pictures.frames is None:
        raise SystemExit(f"nothing renders here: {pictures.how}")
    before, after = pictures.frames.astype(float)
    mixed = (GHOST * before + (1 - GHOST) * after).round().astype(np.uint8)
    figure, axes = plt.subplots(
        1, 3, figsize=(12.5, 4.0), gridspec_kw={"width_ratios": [1.45, 1, 1], "wspace": 0.25}
    )
    axes[0].imshow(mixed)
    axes[0].set_axis_off()
    axes[0].set_title("arm at that moment; pale: on the policy's own chunk", fontsize=9)
    for axis, up, title in ((axes[1], 1, "from above"), (axes[2], 2, "from the side")):
        panels.obstacles(axis, rows, 0, up)
        for motion, colour, label, clearance in (
            (each.before, panels.BAD, "policy's chunk", clearances[0]),
            (each.after, panels.GOOD, "repaired, as sent", clearances[1]),
        ):
            tcp = robot.fk(np.concatenate([each.start[None], motion]))[:, :3]
            axis.plot(
                tcp[:, 0], tcp[:, up], ".-", color=colour, lw=1.5, ms=4,
                label=f"{label}: clearance {clearance:.0f} mm".replace("-", "−"),
            )  # fmt: skip
            arm = robot.link_positions(motion[nearest])
            axis.plot(arm[:, 0], arm[:, up], color=colour, lw=4, alpha=0.25)
        half = where[1] * params.task.object_length_m / 2
        ends = np.stack([where[0] - half, where[0] + half])
        axis.plot(ends[:, 0], ends[:, up], color=panels.OBJECT, lw=4)
        axis.set(xlabel="x, m", ylabel=f"{WORDS[up]}, m")
        axis.set_title(title, fontsize=9)
        axis.set_aspect("equal", adjustable="datalim")
    axes[2].legend(
        frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(-0.1, -0.16), ncol=2
    )
    figure.suptitle(f"Trial {each.trial}: {each.touching} would have touched", fontsize=11)
    figure.savefig(path, dpi=90, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(
        path, optimize=True
    )


def _arrangement(path: Path, params: Params, trials: Trials) -> None:
    """Draw the trial with most obstacles, with the expert at its grasp, and three others."""
    chosen = np.argsort([-len(trials.around(trial)) for trial in range(len(trials))])[:4]
    slots = max(len(trials.around(trial)) for trial in chosen)
    poses = np.stack([trials.plans[trial].joint_pos[-1] for trial in chosen])
    pictures = render(
        params.robot, params.task, poses, trials.object_pos[chosen], trials.object_axis[chosen],
        (420, 340), obstacles=np.stack([pad(trials.around(trial), slots) for trial in chosen]),
    )  # fmt: skip
    if pictures.frames is None:
        raise SystemExit(f"nothing renders here: {pictures.how}")
    row = np.concatenate(list(pictures.frames), axis=1)
    image = Image.fromarray(row).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    image.save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
