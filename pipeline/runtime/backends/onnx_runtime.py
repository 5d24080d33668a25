"""Runs an exported policy in ONNX Runtime, without torch.

Shapes: B observations, T history steps, S state numbers, H horizon, A action numbers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.policy.observation import (
    check_noise,
    check_observation,
    graph_inputs,
    obstacle_slots,
)
from pipeline.runtime.deployment import Deployment

# ONNX Runtime 1.32 sends telemetry that identifies the machine unless this is set before import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

Float32 = NDArray[np.float32]


class BackendError(PipelineError):
    """A file is not an exported policy of this pipeline."""


class OnnxRuntimePolicy:
    """policy.onnx in ONNX Runtime, on the CPU or (never run) on a GPU.

    Attributes:
        layout: the meaning of observations and actions.
        config: dimensions and parameters, as in the checkpoint.
        rate_hz: control rate, Hz; None if the training data had none.
        deployment: execution settings and limits; None in graphs of older exports.
        precision: precision of the network's arithmetic, float32 or float16.
        denoising: form of the denoising steps in the graph, loop or unrolled.
    """

    def __init__(self, path: str | Path, threads: int = 1, *, cuda: bool = False) -> None:
        """Load the graph.

        Args:
            path: policy.onnx.
            threads: CPU threads of one inference; a small network is fastest with one.
            cuda: whether to run on the first GPU.

        Raises:
            BackendError: the file is missing, is not an ONNX graph, or was not exported by this
                pipeline; or this ONNX Runtime does not run on a GPU here.
            LayoutError: the layout in its metadata is broken.
        """
        if not Path(path).is_file():
            raise BackendError(f"{path}: no such file; expected policy.onnx of stage export")
        provider = "CUDAExecutionProvider"
        if cuda and provider not in ort.get_available_providers():
            raise BackendError(
                "this ONNX Runtime was built without CUDA; install onnxruntime-gpu in its place"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            providers = [*([provider] if cuda else []), "CPUExecutionProvider"]
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # the library's exceptions have no common base class
            raise BackendError(f"{path}: ONNX Runtime cannot load it: {error}") from error
        if cuda and provider not in self._session.get_providers():
            raise BackendError(
                "ONNX Runtime found no CUDA that it can run on; its log names the library"
            )
        metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        missing = [key for key in ("layout", "config", "rate_hz") if key not in metadata]
        if missing:
            raise BackendError(
                f"{path}: no metadata {', '.join(missing)}; expected a graph that "
                "`python -m pipeline export` wrote"
            )
        self.layout = Layout.from_dict(json.loads(metadata["layout"]))
        self.config: dict[str, Any] = json.loads(metadata["config"])
        self.rate_hz = float(metadata["rate_hz"]) if metadata["rate_hz"] else None
        self.deployment = (
            Deployment.from_json(metadata["deployment"], str(path))
            if "deployment" in metadata
            else None
        )
        self.precision = metadata.get("precision", "float32")
        self.denoising = metadata.get("denoising", "loop")
        self._chunk = (int(self.config["horizon"]), self.layout.action_dim)

    @property
    def input_shapes(self) -> dict[str, list[int]]:
        """Shapes of the graph's inputs by name, without the batch axis."""
        return {entry.name: list(entry.shape[1:]) for entry in self._session.get_inputs()}

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        """Compute chunks of actions.

        Args:
            obs: raw observations, shape (T, S) or (B, T, S), oldest step first; S includes 12
                numbers for each obstacle that the policy can see, after the state.
            noise: standard normal, shape (B, H, A); the same noise gives the same chunk.

        Returns:
            Absolute joint positions, rad, shape (B, H, A); row 0 is the next command.

        Raises:
            ObservationError: a shape is wrong, or a number is not finite.
        """
        slots = obstacle_slots(self.config)
        checked = check_observation(obs, self.layout, int(self.config["n_obs_steps"]), slots)
        start = check_noise(noise, (len(checked), *self._chunk))
        action: Float32 = self._session.run(
            ["action"], {**graph_inputs(checked, self.layout), "noise": start}
        )[0]
        return action
