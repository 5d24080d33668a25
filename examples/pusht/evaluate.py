"""Evaluates checkpoints on Push-T with Diffusion Policy's protocol.

    python -m examples.pusht.evaluate artifacts/pusht --out artifacts/pusht/scores.json

The score of an episode is the largest coverage of the goal in 300 steps, divided by 0.95 and at
most 1; there are 50 start states. A folder stands for its last ten checkpoints.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from examples.pusht import recipe
from examples.pusht.environment import make_environment, roll_out
from pipeline.policy.checkpoint import load_checkpoint, save_checkpoint
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.load import load_policy
from pipeline.runtime.session import RobotPolicy

FIRST_SEED = 100000
EPISODES, STEPS, LAST = 50, 300, 10
RESAMPLES = 10000


def last_checkpoints(folder: Path, number: int) -> list[Path]:
    """Find the checkpoints of the last epochs.

    Args:
        folder: of stage train.
        number: how many.
    """
    found = {int(m[1]): path for path in folder.glob("checkpoint_epoch_*.pt")
             if (m := re.fullmatch(r"checkpoint_epoch_(\d+)", path.stem))}  # fmt: skip
    if not found:
        raise SystemExit(f"{folder}: no checkpoint_epoch_*.pt; expected a folder of stage train")
    return [found[epoch] for epoch in sorted(found)[-number:]]


def load(path: Path, passes: int | None) -> RobotPolicy:
    """Load a checkpoint with the execution of the recipe.

    Args:
        path: the checkpoint.
        passes: denoising steps of an inference; None for those of the training.
    """
    deployment = Deployment.without_arm(recipe.params().execution, 2)
    if passes is None:
        return load_policy(path, deployment=deployment)
    checkpoint = load_checkpoint(path)
    policy = {**checkpoint.config["policy"], "num_inference_steps": passes}
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / path.name
        save_checkpoint(
            changed, replace(checkpoint, config={**checkpoint.config, "policy": policy})
        )
        return load_policy(changed, deployment=deployment)


def interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Compute the 95 % interval of the mean over starts, by resampling starts with replacement.

    Args:
        scores: a row for each checkpoint and a column for each start. Shape (C, N).
    """
    by_start = scores.mean(axis=0)
    rows = np.random.default_rng(0).integers(len(by_start), size=(RESAMPLES, len(by_start)))
    low, high = np.percentile(by_start[rows].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def evaluate(
    paths: Sequence[Path], episodes: int, steps: int, passes: int | None
) -> dict[str, Any]:
    """Score checkpoints on the same starts.

    Args:
        paths: the checkpoints.
        episodes: number of starts.
        steps: longest episode.
        passes: see `load`.

    Returns:
        JSON: scores of every episode, the mean of each checkpoint, the mean over all with its
        interval, and the CPU time, s.
    """
    torch.set_num_threads(1)  # the networks are small, and two threads would wait for each other
    environment, started = make_environment(), time.process_time()
    scores = np.zeros((len(paths), episodes))
    for row, path in enumerate(paths):
        policy = load(path, passes)
        for column in range(episodes):
            scores[row, column] = roll_out(environment, policy, FIRST_SEED + column, steps)
        print(f"{path}: {scores[row].mean():.3f}", flush=True)
    low, high = interval(scores)
    names = [str(path) for path in paths]
    return {
        "checkpoints": dict(zip(names, np.round(scores, 4).tolist(), strict=True)),
        "episodes": episodes,
        "steps": steps,
        "passes": passes,
        "mean": float(scores.mean()),
        "ci95": [low, high],
        "best": float(scores.mean(axis=1).max()),
        "cpu_s": round(time.process_time() - started, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, evaluate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "models", nargs="+", type=Path, help="checkpoints, or folders of stage train"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--last", type=int, default=LAST, help="checkpoints of each folder")
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--passes", type=int, help="denoising steps; default: as trained")
    given = parser.parse_args(arguments)
    groups = [
        last_checkpoints(path, given.last) if path.is_dir() else [path] for path in given.models
    ]
    paths = [path for group in groups for path in group]
    found = evaluate(paths, given.episodes, given.steps, given.passes)
    low, high = found["ci95"]
    print(
        f"mean of {len(paths)} checkpoints {found['mean']:.3f} ({low:.3f} to {high:.3f}, 95 %, "
        f"{given.episodes} starts), best {found['best']:.3f}, {found['cpu_s']:.0f} s of CPU time"
    )
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
