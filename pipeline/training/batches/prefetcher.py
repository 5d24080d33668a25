"""Draw batches and prepare them several steps ahead; draw them again after an interruption."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.training.batches.windows import Source
from pipeline.training.trainer import Prepared, Trainer


class Prefetcher:
    """Prepares the batches of a training, also from the middle of an epoch.

    All random numbers come from the trainer's generator, so two of its earlier states determine
    what was drawn: the state at the start of the epoch gives the order of the windows, and the
    state at the start of the block gives the prepared windows.
    """

    def __init__(self, data: Source, trainer: Trainer) -> None:
        """Take the data; nothing is drawn yet.

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
        """Number of batches in an epoch; the last may be smaller."""
        return -(-len(self.data) // self.trainer.params.batch_windows)

    def batch(self, index: int) -> Prepared:
        """The batch of a step. Steps must be asked for in order.

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

    def undo(self) -> None:
        """Reset the generator to before the last batch, whose step could not be taken."""
        if len(self._before):
            self.trainer.generator.set_state(self._before)

    def state_dict(self) -> dict[str, Tensor]:
        """What `resume` needs in addition to the generator's present state."""
        return dict(self._states)

    def resume(self, states: dict[str, Tensor], index: int) -> None:
        """Draw the current epoch's batches again after a state is loaded.

        Args:
            states: of `state_dict`.
            index: of the next step in its epoch; at 0 nothing needs to be drawn again.
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
