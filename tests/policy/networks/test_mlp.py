from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from pipeline.params import Params
from pipeline.policy.networks.denoiser import NetworkError
from pipeline.policy.networks.mlp import build_network
from pipeline.policy.networks.unet import UnetDenoiser


def paper_parameters(action_dim: int, condition_dim: int, channels: list[int], step: int) -> int:
    """Weights of Diffusion Policy's ConditionalUnet1D, layer by layer (kernel 5, FiLM scale)."""
    kernel, film_in = 5, step + condition_dim

    def linear(a: int, b: int) -> int:
        return a * b + b

    def conv(a: int, b: int, length: int) -> int:
        return a * b * length + b

    def block(a: int, b: int) -> int:
        skip = conv(a, b, 1) if a != b else 0
        norms = 2 * 2 * b
        return conv(a, b, kernel) + conv(b, b, kernel) + norms + linear(film_in, 2 * b) + skip

    total = linear(step, 4 * step) + linear(4 * step, step)
    sizes = [action_dim, *channels]
    for low, high in pairwise(sizes):
        total += block(low, high) + block(high, high)
    total += sum(conv(size, size, 3) for size in channels[:-1])
    total += 2 * block(channels[-1], channels[-1])
    for low, high in pairwise(channels):
        total += block(2 * high, low) + block(low, low) + conv(low, low, 4)
    first = channels[0]
    return total + conv(first, first, kernel) + 2 * first + conv(first, action_dim, 1)


def test_the_unet_has_the_parameters_of_the_paper_s(params: Params) -> None:
    # Push-T with state input: action 2, two observations of 5; 65.4 million.
    chosen = params.override(
        "policy", unet_channels=[256, 512, 1024], step_embedding=256, unet_groups=8
    )
    with torch.device("meta"):
        network = UnetDenoiser(chosen.policy, action_dim=2, condition_dim=10)
    count = sum(weight.numel() for weight in network.parameters())
    assert count == paper_parameters(2, 10, [256, 512, 1024], 256) == 65_353_218


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_both_networks_share_one_signature(params: Params, network: str) -> None:
    denoiser = build_network(params.override("policy", network=network).policy, 6, 48)
    out = denoiser(torch.randn(5, 16, 6), torch.arange(5), torch.randn(5, 48))
    assert out.shape == (5, 16, 6)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_samples_of_a_batch_do_not_touch(params: Params, network: str) -> None:
    denoiser = build_network(params.override("policy", network=network).policy, 6, 48).eval()
    noisy, step, condition = torch.randn(3, 16, 6), torch.tensor([1, 50, 99]), torch.randn(3, 48)
    together = denoiser(noisy, step, condition)
    for row in range(3):
        one = slice(row, row + 1)
        alone = denoiser(noisy[one], step[one], condition[one])
        torch.testing.assert_close(alone, together[one], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_prediction_depends_on_chunk_step_and_condition(params: Params, network: str) -> None:
    torch.manual_seed(0)
    denoiser = build_network(params.override("policy", network=network).policy, 6, 48)
    inputs = [torch.randn(1, 16, 6), torch.tensor([3]), torch.randn(1, 48)]
    others = [torch.randn(1, 16, 6), torch.tensor([90]), torch.randn(1, 48)]
    base = denoiser(*inputs)
    for index, other in enumerate(others):
        changed = [other if i == index else value for i, value in enumerate(inputs)]
        assert (denoiser(*changed) - base).abs().max() > 1e-4
    base.square().sum().backward()
    unused = [name for name, weight in denoiser.named_parameters() if weight.grad is None]
    assert unused == []


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_one_forward_gives_the_numbers_it_always_gave(params: Params, network: str) -> None:
    denoiser = build_network(params.override("policy", network=network).policy, 6, 48).eval()
    with torch.no_grad():
        for index, weight in enumerate(denoiser.parameters()):
            flat = torch.arange(weight.numel(), dtype=torch.float32)
            weight.copy_((0.1 * torch.sin(flat + index)).reshape(weight.shape))
        noisy = torch.linspace(-1, 1, 96).reshape(1, 16, 6)
        out = denoiser(noisy, torch.tensor([42]), torch.linspace(0, 1, 48)[None])
    torch.testing.assert_close(out[0, 3, :3], torch.tensor(GOLDEN[network]), atol=1e-5, rtol=1e-4)


GOLDEN = {
    "mlp": [0.156514, 0.232592, 0.178543],
    "unet": [0.10816, 0.044541, -0.020556],
    "transformer": [-0.270466, -1.461177, -2.129601],
}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"horizon": 15}, "multiple of 2"),
        ({"unet_channels": [8, 18]}, "unet_groups"),
        ({"unet_channels": [8]}, "two levels"),
        ({"unet_kernel": 4}, "odd"),
        ({"network": "transformer", "transformer_heads": 5}, "does not divide"),
    ],
)
def test_dimensions_that_do_not_fit_are_refused(
    params: Params, values: dict[str, Any], word: str
) -> None:
    chosen = params.override("policy", **{"network": "unet", **values})
    with pytest.raises(NetworkError, match=word):
        build_network(chosen.policy, 6, 48)
