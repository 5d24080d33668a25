"""Training windows in the device's memory, and what every source of batches offers.

Shapes: N rows of the data set, W windows, B windows of a batch, T history steps, H horizon, S state
numbers, A action numbers, O numbers of an episode's obstacles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Source(Protocol):
    """A source of batches: the order of an epoch, and the windows of a batch."""

    def __len__(self) -> int:
        """Number of windows, W."""

    def order(self, generator: torch.Generator) -> Tensor:
        """The windows of an epoch, shape (W,); the same generator state gives the same order."""

    def batch(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Raw observations (B, T, S) and actions (B, H, A) of the windows (B,)."""


@dataclass(frozen=True)
class Windows:
    """Flat data and the rows of every window, on one device."""

    state: Tensor
    """Shape (N, S)."""
    action: Tensor
    """Shape (N, A), rad."""
    obs_rows: Tensor
    """Shape (W, T)."""
    action_rows: Tensor
    """Shape (W, H)."""
    obstacles: Tensor | None = None
    """Numbers of the obstacles of each episode, shape (E, K · 12); None where none are seen."""
    episode: Tensor | None = None
    """Episode of each window, a row of `obstacles`. Shape (W,)."""

    def __len__(self) -> int:
        """Number of windows, W."""
        return len(self.obs_rows)

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.state.device

    def batch(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Raw observations (B, T, S) and actions (B, H, A) of the windows (B,)."""
        obs, action = self.state[self.obs_rows[windows]], self.action[self.action_rows[windows]]
        if self.obstacles is None or self.episode is None:
            return obs, action
        return with_obstacles(obs, self.obstacles[self.episode[windows]]), action

    def order(self, generator: torch.Generator) -> Tensor:
        """The windows of one epoch in the order of its batches, shape (W,).

        Args:
            generator: on the windows' device; the same state gives the same order.
        """
        return torch.randperm(len(self), generator=generator, device=self.state.device)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All windows in their own order, a batch at a time.

        Args:
            size: windows of a batch.
        """
        for rows in torch.split(torch.arange(len(self), device=self.device), size):
            yield self.batch(rows)


def with_obstacles(obs: Tensor, obstacles: Tensor) -> Tensor:
    """Append obstacles to every step of observations.

    Args:
        obs: shape (B, T, S).
        obstacles: shape (B, O).

    Returns:
        Shape (B, T, S + O).
    """
    return torch.cat((obs, obstacles.unsqueeze(1).expand(-1, obs.shape[1], -1)), dim=2)
