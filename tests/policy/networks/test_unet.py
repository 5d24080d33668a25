from __future__ import annotations

import pytest
import torch

from pipeline.policy.networks.unet import ConvBlock, FilmBlock, StepConv


def test_a_block_keeps_the_horizon_and_changes_the_channels() -> None:
    x = torch.randn(2, 6, 16)
    assert ConvBlock(6, 8, kernel=5, groups=4)(x).shape == (2, 8, 16)
    assert FilmBlock(6, 8, kernel=5, groups=4)(x, torch.randn(2, 16, 1)).shape == (2, 8, 16)


def test_film_scales_and_shifts_channel_by_channel() -> None:
    block = FilmBlock(8, 8, kernel=3, groups=4)
    x, scale, bias = torch.randn(2, 8, 16), torch.randn(2, 8, 1), torch.randn(2, 8, 1)
    expected = block.second(scale * block.first(x) + bias) + x
    torch.testing.assert_close(block(x, torch.cat((scale, bias), dim=1)), expected)


def test_zero_film_leaves_the_skip_and_what_no_input_can_change() -> None:
    block = FilmBlock(8, 8, kernel=3, groups=4)
    film = torch.zeros(1, 16, 1)
    first, second = torch.randn(1, 8, 16), torch.randn(1, 8, 16)
    torch.testing.assert_close(block(first, film) - first, block(second, film) - second)


@pytest.mark.parametrize("length", [1, 4, 8, 10])
def test_a_short_convolution_in_training_is_the_one_of_evaluation(length: int) -> None:
    conv = StepConv(6, 9, 5, padding=2)
    found = {}
    for training in (True, False):
        conv.train(training).zero_grad()
        x = torch.linspace(-1, 1, 3 * 6 * length).reshape(3, 6, length).requires_grad_()
        out = conv(x)
        out.square().sum().backward()
        assert x.grad is not None and conv.weight.grad is not None and conv.bias is not None
        found[training] = [out.detach(), x.grad, conv.weight.grad.clone(), conv.bias.grad]
    for ours, theirs in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
