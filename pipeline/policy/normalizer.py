"""Scale features and actions to ±1 with ranges measured on training windows.

The ranges are buffers of the modules. Shapes: B batch, H horizon, A action numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError

DEGENERATE = 1e-6
"""Ranges below this are float32 noise around a constant (rad, m or unit vector)."""


class NormalizerError(PipelineError):
    """Ranges cannot be measured."""


class MinMax(nn.Module):
    """Maps the range seen in training to ±1, each entry separately.

    An entry that never changed in training has nothing to teach. It normalises to 0 whatever its
    value, and denormalises to its constant, which avoids a division by almost 0.
    """

    center: Tensor
    radius: Tensor
    inverse: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Start as the identity.

        Args:
            shape: of the trailing axes that are scaled entry by entry.
        """
        super().__init__()
        self.register_buffer("center", torch.zeros(shape))
        self.register_buffer("radius", torch.ones(shape))
        self.register_buffer("inverse", torch.ones(shape))

    def fit(self, low: Tensor, high: Tensor) -> None:
        """Set the ranges.

        Args:
            low: smallest values, of the shape given at construction.
            high: largest values, same shape.

        Raises:
            NormalizerError: shapes differ, or a value is not finite.
        """
        if low.shape != self.center.shape or high.shape != self.center.shape:
            raise NormalizerError(
                f"ranges have shapes {tuple(low.shape)} and {tuple(high.shape)}, "
                f"expected {tuple(self.center.shape)}"
            )
        if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
            raise NormalizerError("ranges hold a number that is not finite: clean the data set")
        radius = (high - low) / 2
        constant = radius < DEGENERATE
        self.center.copy_((high + low) / 2)
        self.radius.copy_(torch.where(constant, torch.zeros_like(radius), radius))
        self.inverse.copy_(torch.where(constant, torch.zeros_like(radius), 1 / radius))

    def normalize(self, value: Tensor) -> Tensor:
        """Scale to ±1 within the training range. Shape (..., *shape)."""
        return (value - self.center) * self.inverse

    def denormalize(self, value: Tensor) -> Tensor:
        """Scale back to the original units. Shape (..., *shape)."""
        return value * self.radius + self.center


class ActionCodec(nn.Module):
    """Converts actions to network units: relative or absolute, ±1 per horizon step.

    Each horizon step has its own range. The first commands differ from the current joints a hundred
    times less than the last ones, and so get the same weight and resolution.
    """

    def __init__(
        self,
        horizon: int,
        action_dim: int,
        relative_scale_rad: float | None,
        one_range: bool = False,
    ) -> None:
        """Choose the form.

        Args:
            horizon: steps of a chunk, H.
            action_dim: numbers of an action, A.
            relative_scale_rad: actions are counted from the current joints and pass through
                asinh(difference / this); None keeps them absolute and unchanged.
            one_range: give all horizon steps the same range, as Diffusion Policy does.
        """
        super().__init__()
        self.one_range = one_range
        self.relative_scale_rad = relative_scale_rad
        self.scale = MinMax((horizon, action_dim))

    def fit(self, low: Tensor, high: Tensor) -> None:
        """Set the ranges of `offset`; those of relative actions become symmetric.

        Symmetric ranges keep "stay where you are" at exactly zero.

        Args:
            low: smallest values, shape (H, A).
            high: largest values, shape (H, A).

        Raises:
            NormalizerError: shapes differ, or a value is not finite.
        """
        if self.relative_scale_rad is not None:
            high = torch.maximum(high.abs(), low.abs())
            low = -high
        if self.one_range:
            low, high = low.amin(0).expand_as(low), high.amax(0).expand_as(high)
        self.scale.fit(low, high)

    def offset(self, action: Tensor, current: Tensor) -> Tensor:
        """The actions before scaling: asinh of the offset from the current joints, or unchanged.

        asinh is linear near zero and logarithmic far away: the last hundredth of a radian gets the
        same share of the network's range as a whole radian elsewhere.

        Args:
            action: absolute joint positions, rad, shape (B, H, A).
            current: joints of the newest observation, rad, shape (B, A).
        """
        if self.relative_scale_rad is None:
            return action
        return ((action - current.unsqueeze(1)) / self.relative_scale_rad).asinh()

    def encode(self, action: Tensor, current: Tensor) -> Tensor:
        """Convert absolute joint positions to network units.

        Args:
            action: rad, shape (B, H, A).
            current: rad, shape (B, A).

        Returns:
            Shape (B, H, A), within ±1 for training windows.
        """
        return self.scale.normalize(self.offset(action, current))

    def decode(self, value: Tensor, current: Tensor) -> Tensor:
        """Convert network units to absolute joint positions, the inverse of `encode`.

        Args:
            value: shape (B, H, A).
            current: rad, shape (B, A).

        Returns:
            Rad, shape (B, H, A).
        """
        offset = self.scale.denormalize(value)
        if self.relative_scale_rad is None:
            return offset
        return offset.sinh() * self.relative_scale_rad + current.unsqueeze(1)
