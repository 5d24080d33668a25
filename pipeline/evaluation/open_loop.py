"""Compares predicted chunks with the expert's on held-out episodes (open loop).

W windows, H steps of a chunk, J joints, S state numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.store import Dataset
from pipeline.dataset.windows import window_index
from pipeline.errors import PipelineError
from pipeline.evaluation import metrics
from pipeline.evaluation.rollout import Predict
from pipeline.obstacles import pad
from pipeline.policy.observation import with_obstacles
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]


class OpenLoopError(PipelineError):
    """The data set has no test episode."""


@dataclass(frozen=True)
class OpenLoop:
    """Predicted and expert chunks, and the errors between them."""

    predicted: Array
    """Predicted joint positions, rad. Shape (W, H, J)."""
    expert: Array
    """The data set's actions, rad. Shape (W, H, J)."""
    summary: dict[str, Any]
    """JSON numbers for metrics.json."""
    per_step_deg: Array
    """Root mean square joint error by step of the chunk, degrees. Shape (H,)."""
    per_joint_deg: Array
    """Root mean square error of each joint, degrees. Shape (J,)."""


def compare(
    predict: Predict,
    dataset: Dataset,
    model: RobotModel,
    horizon: int,
    n_obs_steps: int,
    rate_hz: float,
    most: int,
    seed: int,
    noise_scale: float,
    slots: int = 0,
) -> OpenLoop:
    """Predict chunks on the test episodes and compare them with the expert's.

    Args:
        predict: the policy.
        dataset: data set with a test split.
        model: the arm, for end-effector errors and limits.
        horizon: steps of a chunk, H.
        n_obs_steps: observations the policy sees.
        rate_hz: control steps per second.
        most: largest number of windows, evenly spaced; 0 for all.
        seed: seed of the policy's noise.
        noise_scale: factor on that noise; use the closed loop's, so that the policy is the same.
        slots: obstacles that the policy can see, K; 0 if it sees none.

    Raises:
        OpenLoopError: the data set has no test episode.
    """
    episodes = dataset.episodes("test")
    if len(episodes) == 0:
        raise OpenLoopError(
            f"no test episode among {len(dataset.episode_ends)}; the open loop needs at least one: "
            "raise dataset.test_fraction or add episodes"
        )
    observed, acted = window_index(dataset.episode_ends, episodes, n_obs_steps, horizon)
    if 0 < most < len(observed):
        chosen = np.linspace(0, len(observed) - 1, most).round().astype(np.int64)
        observed, acted = observed[chosen], acted[chosen]
    expert = dataset.action[acted].astype(np.float64)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x09E4]))
    noise = np.float32(noise_scale) * rng.standard_normal(expert.shape, dtype=np.float32)
    seen = dataset.state[observed]
    if slots:
        owner = np.searchsorted(dataset.episode_ends, observed[:, -1], side="right")
        around = {int(e): pad(dataset.obstacles(int(e)), slots) for e in np.unique(owner)}
        seen = with_obstacles(seen, np.stack([around[int(episode)] for episode in owner]))
    predicted = predict(seen, noise).astype(np.float64)
    joint = metrics.chunk_errors(predicted, expert)
    pose, expert_pose = model.fk(predicted), model.fk(expert)
    offset = np.linalg.norm(pose[..., :3] - expert_pose[..., :3], axis=-1) * 1000
    angle = metrics.quaternion_angle_deg(pose[..., 3:], expert_pose[..., 3:])
    violations = metrics.limit_violations(
        predicted, model.lower, model.upper, model.velocity_limits, rate_hz
    )
    summary = {
        "episodes": len(episodes),
        "windows": len(predicted),
        "joint_rmse_deg": float(joint["total"]),
        "ee_rmse_mm": float(np.sqrt(np.mean(offset**2))),
        "ee_rmse_deg": float(np.sqrt(np.mean(angle**2))),
        "jerk_ratio": metrics.root_mean_square_jerk(predicted, rate_hz)
        / metrics.root_mean_square_jerk(expert, rate_hz),
        "limit_violations": violations,
    }
    return OpenLoop(predicted, expert, summary, joint["per_step"], joint["per_joint"])
