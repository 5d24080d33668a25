"""Denoising networks: from a noisy chunk, its diffusion step and a condition to a prediction.

Shapes: B batch, H horizon, A action numbers, C condition numbers. Both networks have one signature
and know nothing of schedules, normalisation or what the numbers mean.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.params import PolicyParams
from pipeline.policy.unet import ConvBlock, FilmBlock


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

    What depends on the observation alone is computed once a chunk (`embed_condition`), what depends
    on the step alone becomes a table in the exported graph (`embed_step`), and only `denoise` runs
    in every denoising step.
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


class ResidualBlock(nn.Module):
    """LayerNorm, Linear, SiLU, Linear on a residual path, conditioned before and inside."""

    def __init__(self, width: int) -> None:
        """Make the layers.

        Args:
            width: of the path and of its hidden layer.
        """
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """One block. Both shapes (B, width)."""
        inner: Tensor = self.expand(self.norm(hidden + embedding))
        projected: Tensor = self.project(F.silu(inner + embedding))
        return hidden + projected


class MlpDenoiser(Denoiser):
    """Flat residual MLP over the whole chunk: small enough to train on one CPU core."""

    def __init__(self, params: PolicyParams, action_dim: int, condition_dim: int) -> None:
        """Make the layers.

        Args:
            params: section policy.
            action_dim: A.
            condition_dim: C.
        """
        super().__init__()
        width, chunk = params.mlp_width, params.horizon * action_dim
        self.chunk_shape = (params.horizon, action_dim)
        self.enter = nn.Linear(chunk, width)
        self.condition = nn.Sequential(
            nn.Linear(condition_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )
        self.step = nn.Sequential(
            StepEncoding(params.step_embedding),
            nn.Linear(params.step_embedding, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(params.mlp_blocks))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, chunk))

    def embed_condition(self, condition: Tensor) -> Tensor:
        """Context (B, width) of a condition (B, C)."""
        context: Tensor = self.condition(condition)
        return context

    def embed_step(self, step: Tensor) -> Tensor:
        """Embedding (B, width) of steps (B,)."""
        embedding: Tensor = self.step(step)
        return embedding

    def denoise(self, noisy: Tensor, step_embedding: Tensor, context: Tensor) -> Tensor:
        """Prediction (B, H, A); see `Denoiser.denoise`."""
        embedding = context + step_embedding
        hidden: Tensor = self.enter(noisy.flatten(1))
        for block in self.blocks:
            hidden = block(hidden, embedding)
        out: Tensor = self.leave(hidden)
        return out.reshape(-1, *self.chunk_shape)


class UnetDenoiser(Denoiser):
    """The conditional 1-D U-Net of Diffusion Policy (Chi et al. 2023, section III and its code).

    Convolutions run along the horizon; observation and step modulate every block by FiLM, scale and
    bias. The FiLM layers of all blocks are one matrix here, cut by columns into the part of the
    step and the part of the observation: same parameters, but each part is computed once.
    """

    def __init__(self, params: PolicyParams, action_dim: int, condition_dim: int) -> None:
        """Make the layers.

        Args:
            params: section policy.
            action_dim: A.
            condition_dim: C.

        Raises:
            NetworkError: the horizon cannot be halved often enough, channels do not divide into
                groups, or the kernel is even.
        """
        super().__init__()
        _check_unet(params)
        channels, width = params.unet_channels, params.step_embedding
        self.step = nn.Sequential(
            StepEncoding(width),
            nn.Linear(width, 4 * width),
            nn.Mish(),
            nn.Linear(4 * width, width),
        )
        self.film_sizes: list[int] = []

        def block(size_in: int, size_out: int) -> FilmBlock:
            self.film_sizes.append(2 * size_out)
            return FilmBlock(size_in, size_out, params.unet_kernel, params.unet_groups)

        pairs = list(zip((action_dim, *channels[:-1]), channels, strict=True))
        self.down = nn.ModuleList(nn.ModuleList((block(a, b), block(b, b))) for a, b in pairs)
        self.shrink = nn.ModuleList(nn.Conv1d(c, c, 3, 2, 1) for c in channels[:-1])
        self.middle = nn.ModuleList(block(channels[-1], channels[-1]) for _ in range(2))
        self.up = nn.ModuleList(
            nn.ModuleList((block(2 * b, a), block(a, a))) for a, b in reversed(pairs[1:])
        )
        self.grow = nn.ModuleList(
            nn.ConvTranspose1d(c, c, 4, 2, 1) for c in reversed(channels[:-1])
        )
        self.last = ConvBlock(channels[0], channels[0], params.unet_kernel, params.unet_groups)
        self.leave = nn.Conv1d(channels[0], action_dim, 1)
        self.film = nn.Linear(width + condition_dim, sum(self.film_sizes))
        self.step_width = width

    def embed_condition(self, condition: Tensor) -> Tensor:
        """The observation's share (B, E) of every block's FiLM."""
        return F.linear(F.mish(condition), self.film.weight[:, self.step_width :], self.film.bias)

    def embed_step(self, step: Tensor) -> Tensor:
        """The step's share (B, E) of every block's FiLM."""
        return F.linear(F.mish(self.step(step)), self.film.weight[:, : self.step_width])

    def denoise(self, noisy: Tensor, step_embedding: Tensor, context: Tensor) -> Tensor:
        """Prediction (B, H, A); see `Denoiser.denoise`."""
        film = (context + step_embedding).unsqueeze(-1)
        films = iter(torch.split(film, self.film_sizes, dim=1))
        hidden, skips = noisy.transpose(1, 2), []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                hidden = block(hidden, next(films))
            skips.append(hidden)
            if level < len(self.shrink):
                hidden = self.shrink[level](hidden)
        for block in self.middle:
            hidden = block(hidden, next(films))
        for blocks, grow in zip(self.up, self.grow, strict=True):
            hidden = torch.cat((hidden, skips.pop()), dim=1)
            for block in blocks:  # type: ignore[attr-defined]
                hidden = block(hidden, next(films))
            hidden = grow(hidden)
        out: Tensor = self.leave(self.last(hidden))
        return out.transpose(1, 2)


def build_network(params: PolicyParams, action_dim: int, condition_dim: int) -> Denoiser:
    """The network that `policy.network` names.

    Args:
        params: section policy.
        action_dim: A.
        condition_dim: C.

    Raises:
        NetworkError: the U-Net cannot have these dimensions.
    """
    kinds = {"mlp": MlpDenoiser, "unet": UnetDenoiser}
    return kinds[params.network](params, action_dim, condition_dim)


def _check_unet(params: PolicyParams) -> None:
    if len(params.unet_channels) < 2:
        raise NetworkError(
            f"policy.unet_channels is {list(params.unet_channels)}: expected two levels or more"
        )
    factor = 2 ** (len(params.unet_channels) - 1)
    if params.horizon % factor:
        raise NetworkError(
            f"policy.horizon is {params.horizon}: a U-Net of {len(params.unet_channels)} levels "
            f"halves it {len(params.unet_channels) - 1} times, so it must be a multiple of {factor}"
        )
    uneven = [size for size in params.unet_channels if size % params.unet_groups]
    if uneven:
        raise NetworkError(
            f"policy.unet_channels {uneven} do not divide into policy.unet_groups "
            f"{params.unet_groups}"
        )
    if params.unet_kernel % 2 == 0:
        raise NetworkError(f"policy.unet_kernel is {params.unet_kernel}: expected an odd length")
