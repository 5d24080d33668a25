"""Implements the backend interface with a checkpoint as CUDA graphs, for GPUs without an engine.

Shapes: B observations, T history steps, S state numbers, H horizon, A action numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import PipelineError
from pipeline.policy.observation import check_noise, check_observation, obstacle_slots
from pipeline.runtime.backends.torch_checkpoint import TorchPolicy

Float32 = NDArray[np.float32]


class GraphError(PipelineError):
    """There is no GPU for CUDA graphs."""


@dataclass(frozen=True)
class _Graph:
    """A captured inference; a replay reads the inputs and writes the chunk."""

    graph: torch.cuda.CUDAGraph
    obs: torch.Tensor
    noise: torch.Tensor
    action: torch.Tensor


class TorchGraphPolicy(TorchPolicy):
    """Runs the averaged weights of a checkpoint as one CUDA graph for each batch size.

    A chunk is some hundred small kernels, and without a graph each of them is started on its own.
    Never run on a GPU.
    """

    def __init__(self, checkpoint: Path) -> None:
        """Load a checkpoint on the first GPU.

        Args:
            checkpoint: file that the stage train wrote.

        Raises:
            GraphError: torch sees no GPU.
            CheckpointError: the file is not a checkpoint of this pipeline.
        """
        if not torch.cuda.is_available():
            raise GraphError("CUDA graphs need a GPU, and torch sees none")
        super().__init__(checkpoint, "cuda")
        self._model = self._policy.checkpoint.build().to(self._policy.device)
        self._graphs: dict[int, _Graph] = {}

    @torch.inference_mode()
    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        """Compute chunks of actions; the first call with a batch size captures its graph.

        Args:
            obs: raw observations, shape (T, S) or (B, T, S), oldest step first.
            noise: standard normal, shape (B, H, A).

        Returns:
            Absolute joint positions, rad, shape (B, H, A).

        Raises:
            ObservationError: a shape is wrong, or a number is not finite.
        """
        slots = obstacle_slots(self.config)
        seen = check_observation(obs, self.layout, int(self.config["n_obs_steps"]), slots)
        shape = (len(seen), int(self.config["horizon"]), self.layout.action_dim)
        start = check_noise(noise, shape)
        if len(seen) not in self._graphs:
            self._graphs[len(seen)] = self._capture(seen, start)
        kept = self._graphs[len(seen)]
        kept.obs.copy_(torch.from_numpy(seen))
        kept.noise.copy_(torch.from_numpy(start))
        kept.graph.replay()
        action: Float32 = kept.action.cpu().numpy()
        return action

    def _capture(self, obs: Float32, noise: Float32) -> _Graph:
        device = self._policy.device
        inputs = torch.from_numpy(obs).to(device), torch.from_numpy(noise).to(device)
        # What libraries do only once must not be captured (torch.cuda.graph's documentation).
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._model(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            action = self._model(*inputs)
        return _Graph(graph, *inputs, action)
