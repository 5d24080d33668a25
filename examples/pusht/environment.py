"""Push-T in gym-pusht, from the start states and with the observations of Diffusion Policy.

Positions are pixels of a window of 512 × 512.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KEYPOINTS = np.array(
    [
        [9.270, 90.041], [-60.983, -1.187], [60.913, -1.393], [-0.271, 25.544], [-14.065, 122.816],
        [39.003, 32.857], [-39.966, 32.730], [-16.824, 62.863], [23.541, -1.700],
    ]
)  # fmt: skip
"""Key points in the block's frame: medians over the published data, which they fit to 0.03 pixels
(standard deviation). Shape (9, 2)."""


def keypoints(block: Array) -> Array:
    """Compute the key points of the block.

    Args:
        block: position and angle, rad. Shape (3,).

    Returns:
        Shape (9, 2).
    """
    cosine, sine = np.cos(block[2]), np.sin(block[2])
    return np.asarray(KEYPOINTS @ np.array([[cosine, sine], [-sine, cosine]]) + block[:2])


def start_state(seed: int) -> Array:
    """Draw the start that Diffusion Policy's environment draws for a seed.

    Args:
        seed: 100000 to 100049 in the published evaluation.

    Returns:
        Position of the agent, position of the block, angle of the block, rad. Shape (5,).
    """
    rng = np.random.RandomState(seed)  # another generator gives other starts
    places = [rng.randint(50, 450), rng.randint(50, 450), rng.randint(100, 400),
              rng.randint(100, 400)]  # fmt: skip
    return np.array([*places, rng.randn() * 2 * np.pi - np.pi], dtype=np.float64)


def observation(state: Array) -> dict[str, Array]:
    """Compute what the policy sees, by the names of the training data's arrays.

    Args:
        state: as in `start_state`.
    """
    return {"keypoint": keypoints(state[2:]).ravel(), "state[0:2]": state[:2]}


def make_environment() -> Any:
    """Create gym-pusht's environment, without a window.

    Raises:
        ImportError: gym-pusht is not installed (pip install '.[pusht]').
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    from gym_pusht.envs.pusht import PushTEnv

    return PushTEnv(obs_type="state")


def roll_out(environment: Any, session: Any, seed: int, steps: int) -> float:
    """Run one episode.

    Args:
        environment: see `make_environment`.
        session: a policy's closed loop; it is reset.
        seed: of the start and of the policy's noise.
        steps: longest episode; it also ends when the block covers 95 % of the goal.

    Returns:
        The largest reward: coverage of the goal / 0.95, at most 1.
    """
    state, _ = environment.reset(seed=seed, options={"reset_to_state": start_state(seed)})
    session.reset(seed)
    best = 0.0
    for _ in range(steps):
        action = session.act(observation(state))
        state, reward, done, _, _ = environment.step(action)
        best = max(best, float(reward))
        if done:
            break
    return best
