from __future__ import annotations

import torch

from pipeline.policy.unet import ConvBlock, FilmBlock


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
