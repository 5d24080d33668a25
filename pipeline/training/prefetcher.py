"""Batches, epoch after epoch: drawn, prepared some steps ahead, drawn again on resuming.

Knows the order of windows and the generator that draws it; what a step does with a batch is the
trainer's affair.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipeline.training.trainer import Prepared, Trainer


class Source(Protocol):
    """Where batches come from: the order of an epoch, and the windows of a batch."""

    def __len__(self) -> int:
        """Number of windows, W."""

    def order(self, generator: torch.Generator) -> Tensor:
        """The windows of an epoch, shape (W,); the same generator state gives the same order."""

    def batch(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Raw observations (B, T, S) and actions (B, H, A) of the windows (B,)."""


class Feed:
    """The batches of a training, from wherever it stands.

    Everything random comes from the trainer's generator, so two of its earlier states say what was
    drawn: that of the epoch's start gives the order, that of the block's the prepared windows.
    """

    def __init__(self, data: Source, trainer: Trainer) -> None:
        """Nothing is drawn yet.

        Args:
            data: training windows.
            trainer: prepares them.
        """
        self.data, self.trainer = data, trainer
        self._order = torch.zeros(0, dtype=torch.int64)
        self._block: Prepared
        self._start = 0  # of the block in the order
        nothing = torch.zeros(0, dtype=torch.uint8)
        self._states = {"epoch": nothing, "block": nothing}
        self._before = nothing

    @property
    def steps(self) -> int:
        """Batches of an epoch; the last may be smaller."""
        return -(-len(self.data) // self.trainer.params.batch_windows)

    def batch(self, index: int) -> Prepared:
        """The batch of a step; to be asked for in turn.

        Args:
            index: of the step in its epoch, from 0.
        """
        generator = self.trainer.generator
        if index % self.trainer.block_steps == 0:
            self._before = generator.get_state()
            if index == 0:
                self._states["epoch"] = self._before
                self._order = self.data.order(generator)
            self._states["block"] = generator.get_state()
            self._prepare(index)
        else:
            self._before = torch.zeros(0, dtype=torch.uint8)
        size = self.trainer.params.batch_windows
        begin = index * size - self._start
        return self._block.part(slice(begin, begin + size))

    def take_back(self) -> None:
        """Undraw the batch asked for last: its step could not be taken."""
        if len(self._before):
            self.trainer.generator.set_state(self._before)

    def state_dict(self) -> dict[str, Tensor]:
        """What `resume` needs beside the generator's present state."""
        return dict(self._states)

    def resume(self, states: dict[str, Tensor], index: int) -> None:
        """Draw again what was drawn for the epoch in whose midst a state was saved.

        Args:
            states: of `state_dict`.
            index: of the step that comes next in its epoch; at 0 all is drawn anew.
        """
        if index == 0:
            return
        generator = self.trainer.generator
        now = generator.get_state()
        self._states = dict(states)
        generator.set_state(states["epoch"])
        self._order = self.data.order(generator)
        ahead = index % self.trainer.block_steps
        if ahead:
            generator.set_state(states["block"])
            self._prepare(index - ahead)
        generator.set_state(now)

    def _prepare(self, index: int) -> None:
        size = self.trainer.params.batch_windows
        self._start = index * size
        windows = self._order[self._start : self._start + self.trainer.block_steps * size]
        self._block = self.trainer.prepare(*self.data.batch(windows))
