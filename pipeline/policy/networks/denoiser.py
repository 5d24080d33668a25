"""The interface of denoising networks: noisy chunk, step and condition to a prediction.

Shapes: B batch, H horizon, A action numbers, C condition numbers, E embedding. Networks
handle neither schedules nor normalisation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError


class NetworkError(PipelineError):
    """A network cannot have these dimensions."""


class StepEncoding(nn.Module):
    """Sines and cosines of the diffusion step (Vaswani et al. 2017, section 3.5)."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        """Take geometric frequencies from 1 to 1/10000.

        Args:
            width: numbers of the encoding, even, 4 or more.
        """
        super().__init__()
        half = width // 2
        exponents = torch.arange(half, dtype=torch.float32) / (half - 1)
        self.register_buffer("frequencies", torch.exp(-math.log(1e4) * exponents), persistent=False)

    def forward(self, step: Tensor) -> Tensor:
        """Encode steps (B,) as (B, width)."""
        angle = step.unsqueeze(-1).to(self.frequencies.dtype) * self.frequencies
        return torch.cat((angle.sin(), angle.cos()), dim=-1)


class Denoiser(nn.Module, ABC):
    """A denoising network in three parts.

    `embed_condition` depends on the observation alone and runs once per chunk. `embed_step` depends
    on the step alone and becomes a table in the exported graph. Only `denoise` runs in every
    denoising step.
    """

    @abstractmethod
    def embed_condition(self, condition: Tensor) -> Tensor:
        """Context (B, E) of a condition (B, C)."""

    @abstractmethod
    def embed_step(self, step: Tensor) -> Tensor:
        """Embedding (B, E) of integer diffusion steps (B,)."""

    @abstractmethod
    def denoise(self, noisy: Tensor, step_embedding: Tensor, context: Tensor) -> Tensor:
        """Prediction (B, H, A) from a noisy chunk (B, H, A) and both embeddings.

        The step embedding is (B, E), or (1, E) for one step that the batch shares.
        """

    def forward(self, noisy: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """Prediction for a noisy chunk.

        Args:
            noisy: shape (B, H, A), network units.
            step: diffusion steps, integers, shape (B,).
            condition: shape (B, C).

        Returns:
            Shape (B, H, A): the clean chunk or the noise, as the network is trained.
        """
        return self.denoise(noisy, self.embed_step(step), self.embed_condition(condition))


class EmbeddedDenoiser(Denoiser):
    """A denoiser whose condition and step each pass through a small network to the same width."""

    def make_embeddings(self, condition_dim: int, step_dim: int, width: int) -> None:
        """Make both networks, in a subclass's constructor.

        Args:
            condition_dim: C.
            step_dim: numbers of the step's encoding.
            width: E.
        """
        self.condition = nn.Sequential(
            nn.Linear(condition_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )
        self.step = nn.Sequential(
            StepEncoding(step_dim),
            nn.Linear(step_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )

    def embed_condition(self, condition: Tensor) -> Tensor:
        """Context (B, E) of a condition (B, C)."""
        context: Tensor = self.condition(condition)
        return context

    def embed_step(self, step: Tensor) -> Tensor:
        """Embedding (B, E) of steps (B,)."""
        embedding: Tensor = self.step(step)
        return embedding
