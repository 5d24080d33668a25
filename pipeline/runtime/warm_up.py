"""Runs a policy before the robot moves, so that no call on the way has to prepare anything.

TensorRT-RTX compiles kernels for the GPU when an engine first runs, and every GPU library loads its
code then; that takes from tens of milliseconds to seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.policy.observation import observations, obstacle_slots
from pipeline.runtime.backends.backend import Backend


def warm_up(backend: Backend, sizes: Iterable[int]) -> None:
    """Compute chunks that nobody uses.

    Args:
        backend: computes chunks.
        sizes: observations of the calls that will come, B.
    """
    layout, config = backend.layout, backend.config
    state = np.zeros(layout.state_dim, np.float32)
    for kind in ("ee_pose", "object_axis"):
        if layout.has(kind):  # a unit quaternion xyzw, a unit vector
            state[layout.field(kind).slice.stop - 1] = 1.0
    for size in sizes:
        states = np.tile(state, (size, int(config["n_obs_steps"]), 1))
        seen = observations(states, layout, obstacle_slots(config))
        noise = np.zeros((size, int(config["horizon"]), layout.action_dim), np.float32)
        backend.predict(seen, noise)
