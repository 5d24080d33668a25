"""A checkpoint as a backend does what `DiffusionPolicy` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.policy.checkpoint import Checkpoint, save_checkpoint
from pipeline.policy.diffusion_policy import DiffusionPolicy
from pipeline.runtime.backends.torch_checkpoint import TorchPolicy


def test_it_predicts_as_the_policy_does(exported: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    checkpoint = exported[0]
    save_checkpoint(tmp_path / "model.pt", checkpoint)
    backend = TorchPolicy(tmp_path / "model.pt", device="cpu")
    policy = DiffusionPolicy.from_checkpoint(tmp_path / "model.pt", device="cpu")
    obs, noise = checkpoint.examples.numpy(), np.ones((5, 16, 6), np.float32)
    np.testing.assert_array_equal(backend.predict(obs, noise), policy.predict(obs, noise).numpy())
    assert (backend.rate_hz, backend.deployment) == (30.0, None)
    assert backend.layout == checkpoint.layout and backend.config == checkpoint.config
