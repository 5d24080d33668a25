"""The conditional U-Net of Diffusion Policy.

Shapes: B batch, H horizon, A action numbers, C condition numbers, E embedding, N channels, L steps
along the horizon.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.params import PolicyParams
from pipeline.policy.networks.denoiser import Denoiser, NetworkError, StepEncoding


class StepConv(nn.Conv1d):
    """A convolution along few steps; training on a CPU computes it as one matrix product.

    oneDNN's convolutions over four or eight steps reach only a fraction of the speed of its matrix
    products, and its backward pass is the slowest. The weights are those of `nn.Conv1d`; only the
    order of sums differs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """From (B, size_in, L) to (B, size_out, L)."""
        length, kernel = x.shape[-1], self.kernel_size[0]
        if not (self.training and x.device.type == "cpu" and length <= 2 * kernel):
            return super().forward(x)
        padded = F.pad(x, (kernel // 2, kernel // 2)).unfold(2, kernel, 1)
        columns = padded.permute(0, 2, 1, 3).reshape(-1, x.shape[1] * kernel)
        weight = self.weight.flatten(1).t()
        rows = columns @ weight if self.bias is None else torch.addmm(self.bias, columns, weight)
        return rows.view(len(x), length, -1).transpose(1, 2)


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
        self.conv = StepConv(size_in, size_out, kernel, padding=kernel // 2)
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
