from __future__ import annotations

import torch
import torch.nn.functional as F

from pipeline.params import Params
from pipeline.policy.networks.transformer import TransformerBlock, TransformerDenoiser


def test_every_step_of_a_chunk_sees_every_other(params: Params) -> None:
    torch.manual_seed(0)
    network = TransformerDenoiser(params.policy, 6, 48)
    noisy = torch.randn(1, 16, 6, requires_grad=True)
    step, context = (
        network.embed_step(torch.tensor([3])),
        network.embed_condition(torch.randn(1, 48)),
    )
    for row in (0, 15):
        (seen,) = torch.autograd.grad(network.denoise(noisy, step, context)[0, row].sum(), noisy)
        assert (seen.abs().sum(dim=-1) > 0).all()


def test_without_gates_a_block_changes_nothing() -> None:
    block = TransformerBlock(width=32, heads=4)
    torch.nn.init.zeros_(block.modulation.linear.weight)
    tokens = torch.randn(2, 16, 32)
    torch.testing.assert_close(block(tokens, torch.randn(2, 32)), tokens)


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    block, theirs = TransformerBlock(32, 4), torch.nn.MultiheadAttention(32, 4, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = block.attend.weight, block.attend.bias
    theirs.out_proj.weight, theirs.out_proj.bias = block.project.weight, block.project.bias
    tokens = F.layer_norm(torch.randn(2, 16, 32), (32,))
    expected, _ = theirs(tokens, tokens, tokens)
    torch.testing.assert_close(block._attention(tokens), expected)


def test_the_parameters_are_those_of_the_formula(params: Params) -> None:
    chosen = params.override(
        "policy",
        transformer_width=128,
        transformer_layers=4,
        transformer_heads=4,
        step_embedding=64,
        horizon=16,
    )
    width, action, condition, encoding = 128, 6, 54, 64
    network = TransformerDenoiser(chosen.policy, action, condition)

    def linear(a: int, b: int) -> int:
        return a * b + b

    block = linear(width, 6 * width) + linear(width, 3 * width) + linear(width, width)
    block += linear(width, 4 * width) + linear(4 * width, width)
    total = 4 * block + linear(action, width) + 16 * width + linear(width, 2 * width)
    total += linear(condition, width) + 2 * linear(width, width)
    total += linear(encoding, width) + linear(width, width) + linear(width, action)
    assert sum(weight.numel() for weight in network.parameters()) == total
