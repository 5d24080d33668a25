"""Blocks of the conditional U-Net. Shapes: B batch, N channels, L steps along the horizon."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Convolution along the horizon, group normalisation, Mish."""

    def __init__(self, size_in: int, size_out: int, kernel: int, groups: int) -> None:
        """Make the layers.

        Args:
            size_in: channels of the input.
            size_out: channels of the output.
            kernel: length of the convolution, odd, steps.
            groups: groups of the normalisation.
        """
        super().__init__()
        self.conv = nn.Conv1d(size_in, size_out, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(groups, size_out)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, size_in, L) to (B, size_out, L)."""
        return F.mish(self.norm(self.conv(x)))


class FilmBlock(nn.Module):
    """Two convolution blocks with feature-wise scale and bias between them, and a skip.

    FiLM (Perez et al. 2018) as Diffusion Policy uses it: scale · x + bias, channel by channel.
    """

    def __init__(self, size_in: int, size_out: int, kernel: int, groups: int) -> None:
        """Make the layers.

        Args:
            size_in: channels of the input.
            size_out: channels of the output.
            kernel: length of the convolutions, odd, steps.
            groups: groups of the normalisation.
        """
        super().__init__()
        self.first = ConvBlock(size_in, size_out, kernel, groups)
        self.second = ConvBlock(size_out, size_out, kernel, groups)
        self.skip = nn.Conv1d(size_in, size_out, 1) if size_in != size_out else nn.Identity()

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        """From (B, size_in, L) and film (B, 2 · size_out, 1) to (B, size_out, L)."""
        scale, bias = film.chunk(2, dim=1)
        hidden = scale * self.first(x) + bias
        skipped: Tensor = self.skip(x)
        out: Tensor = self.second(hidden)
        return out + skipped
