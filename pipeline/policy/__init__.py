"""The diffusion policy: features, networks, sampling and checkpoints, without robot libraries.

`DiffusionPolicy` is imported on first use, so that a robot that runs an exported graph
(`pipeline.runtime.backends.onnx_runtime`) needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.policy.diffusion_policy import DiffusionPolicy

__all__ = ["DiffusionPolicy"]


def __getattr__(name: str) -> type[DiffusionPolicy]:
    """Import the policy on its first use."""
    if name != "DiffusionPolicy":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.policy.diffusion_policy import DiffusionPolicy

    return DiffusionPolicy
