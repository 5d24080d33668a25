"""What every inference engine offers: chunks for observations, and what the policy carries."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.layout import Layout
from pipeline.runtime.deployment import Deployment

Float32 = NDArray[np.float32]


class Backend(Protocol):
    """Whatever computes a chunk: ONNX Runtime, a TensorRT engine, torch."""

    layout: Layout
    config: dict[str, Any]
    rate_hz: float | None
    deployment: Deployment | None

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        """Chunks (B, H, A), rad, for observations (B, T, S) and noise (B, H, A)."""
