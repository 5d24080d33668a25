"""The flat MLP, and the function that builds the chosen network.

Shapes: B batch, H horizon, A action numbers, C condition numbers. All networks have one signature
(`pipeline.policy.networks.denoiser`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.params import PolicyParams
from pipeline.policy.networks.denoiser import Denoiser, EmbeddedDenoiser
from pipeline.policy.networks.transformer import TransformerDenoiser
from pipeline.policy.networks.unet import UnetDenoiser


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


class MlpDenoiser(EmbeddedDenoiser):
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
        self.make_embeddings(condition_dim, params.step_embedding, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(params.mlp_blocks))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, chunk))

    def denoise(self, noisy: Tensor, step_embedding: Tensor, context: Tensor) -> Tensor:
        """Prediction (B, H, A); see `Denoiser.denoise`."""
        embedding = context + step_embedding
        hidden: Tensor = self.enter(noisy.flatten(1))
        for block in self.blocks:
            hidden = block(hidden, embedding)
        out: Tensor = self.leave(hidden)
        return out.reshape(-1, *self.chunk_shape)


def build_network(params: PolicyParams, action_dim: int, condition_dim: int) -> Denoiser:
    """The network that `policy.network` names.

    Args:
        params: section policy.
        action_dim: A.
        condition_dim: C.

    Raises:
        NetworkError: the network cannot have these dimensions.
    """
    kinds: dict[str, Callable[[PolicyParams, int, int], Denoiser]]
    kinds = {"mlp": MlpDenoiser, "unet": UnetDenoiser, "transformer": TransformerDenoiser}
    return kinds[params.network](params, action_dim, condition_dim)
