from __future__ import annotations

import torch

from pipeline.policy.networks.denoiser import StepEncoding


def test_step_encodings_differ_from_step_to_step() -> None:
    codes = StepEncoding(16)(torch.arange(100))
    assert codes.shape == (100, 16)
    assert torch.pdist(codes).min() > 1e-2
