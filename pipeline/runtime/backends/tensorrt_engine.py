"""Implements the backend interface with a TensorRT engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.hashing import sha256_file
from pipeline.policy.observation import (
    check_noise,
    check_observation,
    graph_inputs,
    obstacle_slots,
)
from pipeline.runtime.backends.engine_runner import EngineRunner
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

Float32 = NDArray[np.float32]


class EnginePolicy:
    """Runs an engine; layout and configuration are read from its policy.onnx.

    Attributes:
        layout: the meaning of observations and actions.
        config: dimensions and parameters, as in the checkpoint.
        rate_hz: control rate, Hz; None if the training data had none.
        deployment: execution settings and limits; None in graphs of older exports.
    """

    def __init__(self, engine: Path, onnx: Path, backend: str, cache: Path | None = None) -> None:
        """Load the engine on the first GPU.

        Args:
            engine: an engine file chosen by `engine_store.fitting_engine`.
            onnx: the policy.onnx that it was built from.
            backend: tensorrt or tensorrt-rtx.
            cache: folder for the kernels that TensorRT-RTX compiles when an engine first runs; None
                to compile them again in every process.

        Raises:
            CudaError: no driver.
            EngineError: the library refuses the engine.
        """
        graph = OnnxRuntimePolicy(onnx)
        self.layout, self.config, self.rate_hz = graph.layout, graph.config, graph.rate_hz
        self.deployment = graph.deployment
        kernels = None if cache is None else cache / f"{sha256_file(engine)[:32]}.kernels"
        self._runner = EngineRunner(engine, backend.replace("-", "_"), kernels)

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        """Compute chunks of actions.

        Args:
            obs: raw observations, shape (T, S) or (B, T, S), oldest step first. A batch larger
                than the engine's profile allows is split into several calls.
            noise: standard normal, shape (B, H, A).

        Returns:
            Absolute joint positions, rad, shape (B, H, A).

        Raises:
            ObservationError: a shape is wrong, or a number is not finite.
            EngineError: the engine fails to run.
        """
        slots = obstacle_slots(self.config)
        checked = check_observation(obs, self.layout, int(self.config["n_obs_steps"]), slots)
        shape = (len(checked), int(self.config["horizon"]), self.layout.action_dim)
        inputs = {**graph_inputs(checked, self.layout), "noise": check_noise(noise, shape)}
        return in_batches(self._runner.run, self._runner.max_batch, inputs)


def in_batches(
    run: Callable[[dict[str, Float32]], Float32], max_batch: int, inputs: dict[str, Float32]
) -> Float32:
    """Split a batch into calls that the engine's profile allows.

    Args:
        run: computes chunks (N, H, A) from the inputs of N observations.
        max_batch: largest N per call.
        inputs: arrays by name; the first axis of each is B.
    """
    starts = range(0, len(inputs["obs"]), max_batch)
    parts = [
        run({name: array[start : start + max_batch] for name, array in inputs.items()})
        for start in starts
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
