"""The diffusion transformer: one token per step of the chunk, conditioned by adaptive LayerNorm.

Shapes: B batch, H horizon, A action numbers, C condition numbers, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.params import PolicyParams
from pipeline.policy.networks.denoiser import EmbeddedDenoiser, NetworkError

INITIAL_STD = 0.02
"""Spread of position embeddings and of the conditioning's weights at the start: blocks begin near
the identity (Peebles & Xie 2023 begin exactly there, with zeros)."""


class Modulation(nn.Module):
    """Numbers that scale, shift and gate a layer, from the conditioning."""

    def __init__(self, width: int, parts: int) -> None:
        """Make the layer.

        Args:
            width: W.
            parts: groups of W numbers.
        """
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(width, parts * width)
        nn.init.normal_(self.linear.weight, std=INITIAL_STD)
        nn.init.zeros_(self.linear.bias)

    def forward(self, conditioning: Tensor) -> tuple[Tensor, ...]:
        """`parts` tensors (B, 1, W) from an activated conditioning (B, W)."""
        out: Tensor = self.linear(conditioning)
        return torch.split(out.unsqueeze(1), out.shape[-1] // self.parts, dim=-1)


class TransformerBlock(nn.Module):
    """Self-attention over the chunk, then a two-layer MLP, both modulated and gated.

    The block of the diffusion transformer (Peebles & Xie 2023, "Scalable Diffusion Models with
    Transformers", figure 3, adaLN). Every step of a chunk attends to every other, without
    a causal mask, because a chunk is predicted as a whole.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Make the layers.

        Args:
            width: W.
            heads: of the attention; W divides by them.
        """
        super().__init__()
        self.heads = heads
        self.modulation = Modulation(width, 6)
        self.attend = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.expand = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor, conditioning: Tensor) -> Tensor:
        """From tokens (B, H, W) and an activated conditioning (B, W) to tokens (B, H, W)."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.modulation(conditioning)
        tokens = tokens + gate * self._attention(_modulated(tokens, scale, shift))
        inner: Tensor = self.expand(_modulated(tokens, scale_mlp, shift_mlp))
        mixed: Tensor = self.shrink(F.gelu(inner, approximate="tanh"))
        out: Tensor = tokens + gate_mlp * mixed
        return out

    def _attention(self, tokens: Tensor) -> Tensor:
        parts = torch.split(self.attend(tokens), tokens.shape[-1], dim=-1)
        heads = (*tokens.shape[:2], self.heads, tokens.shape[-1] // self.heads)
        query, key, value = (part.reshape(heads).transpose(1, 2) for part in parts)
        if torch.compiler.is_exporting():
            # The exporter writes torch's one call as some twenty operators.
            scores = query * query.shape[-1] ** -0.5 @ key.transpose(2, 3)
            mixed = scores.softmax(dim=-1) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return projected


class TransformerDenoiser(EmbeddedDenoiser):
    """A diffusion transformer over the steps of the chunk."""

    def __init__(self, params: PolicyParams, action_dim: int, condition_dim: int) -> None:
        """Make the layers.

        Args:
            params: section policy.
            action_dim: A.
            condition_dim: C.

        Raises:
            NetworkError: the width does not divide into the heads.
        """
        super().__init__()
        width, heads = params.transformer_width, params.transformer_heads
        if width % heads:
            raise NetworkError(
                f"policy.transformer_width {width} does not divide into policy.transformer_heads "
                f"{heads}"
            )
        self.enter = nn.Linear(action_dim, width)
        self.position = nn.Parameter(INITIAL_STD * torch.randn(1, params.horizon, width))
        self.make_embeddings(condition_dim, params.step_embedding, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads) for _ in range(params.transformer_layers)
        )
        self.modulation = Modulation(width, 2)
        self.leave = nn.Linear(width, action_dim)

    def denoise(self, noisy: Tensor, step_embedding: Tensor, context: Tensor) -> Tensor:
        """Prediction (B, H, A); see `Denoiser.denoise`."""
        conditioning = F.silu(context + step_embedding)
        tokens = self.enter(noisy) + self.position
        for block in self.blocks:
            tokens = block(tokens, conditioning)
        shift, scale = self.modulation(conditioning)
        out: Tensor = self.leave(_modulated(tokens, scale, shift))
        return out


def _modulated(tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalised tokens, scaled around 1 and shifted by the conditioning."""
    return F.layer_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift
