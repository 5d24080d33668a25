"""The interface of every inference backend: it predicts chunks and holds the policy's metadata."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.layout import Layout
from pipeline.runtime.deployment import Deployment

Float32 = NDArray[np.float32]


class Backend(Protocol):
    """Computes chunks with ONNX Runtime, a TensorRT engine or torch."""

    layout: Layout
    config: dict[str, Any]
    rate_hz: float | None
    deployment: Deployment | None

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        """Compute chunks (B, H, A), rad, from observations (B, T, S) and noise (B, H, A)."""
