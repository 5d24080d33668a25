"""Implements the backend interface with a checkpoint, for machines that have torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.policy.diffusion_policy import DiffusionPolicy
from pipeline.runtime.deployment import Deployment

Float32 = NDArray[np.float32]


class TorchPolicy:
    """Runs the averaged weights of a checkpoint in eager mode.

    Attributes:
        layout: the meaning of observations and actions.
        config: dimensions and parameters, as in the checkpoint.
        rate_hz: control rate, Hz; None if the training data had none.
        deployment: always None; a checkpoint has no execution settings or limits.
    """

    def __init__(self, checkpoint: Path, device: str = "auto") -> None:
        """Load a checkpoint.

        Args:
            checkpoint: file that the stage train wrote.
            device: auto, cpu or cuda.

        Raises:
            CheckpointError: the file is not a checkpoint of this pipeline.
        """
        self._policy = DiffusionPolicy.from_checkpoint(checkpoint, device)
        self.layout, self.config = self._policy.layout, self._policy.checkpoint.config
        rate = self.config["rate_hz"]
        self.rate_hz = None if rate is None else float(rate)
        self.deployment: Deployment | None = None

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        """Compute chunks of actions; see `DiffusionPolicy.predict`.

        Args:
            obs: raw observations, shape (T, S) or (B, T, S), oldest step first.
            noise: standard normal, shape (B, H, A).

        Returns:
            Absolute joint positions, rad, shape (B, H, A).
        """
        action: Float32 = self._policy.predict(np.asarray(obs), np.asarray(noise)).cpu().numpy()
        return action
