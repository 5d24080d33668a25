"""The training loop: batch, step; once an epoch validate, roll out, log and save; stop and go on.

Owns where a training stands. Files and rollouts come in as functions, data as windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.policy.checkpoint import BundleError
from pipeline.policy.model import PolicyModel
from pipeline.run import console, track
from pipeline.training.distributed import WorkerError
from pipeline.training.interruption import StopSignal
from pipeline.training.logging import CURVE_STEPS, Curves, Record
from pipeline.training.memory import is_out_of_memory
from pipeline.training.prefetcher import Feed, Source
from pipeline.training.resume import StateStore
from pipeline.training.selection import Epoch, Score, best_epoch
from pipeline.training.trainer import Trainer, first_not_finite, learning_rate

SAVING_SHARE = 0.05
"""Largest share of the time that saving states may take; it stretches `train.state_every_s`."""


class LearningError(PipelineError):
    """The loss is no number any more, memory ran out, or a worker is gone."""


@dataclass(frozen=True)
class Judges:
    """What says how good some averaged weights are."""

    validate: Callable[[PolicyModel], float]
    """The validation loss."""
    roll_out: Callable[[PolicyModel], Score] | None
    """A small closed loop; None where the data cannot be rolled out."""


@dataclass
class Progress:
    """Where a training stands between two steps, but for what the trainer holds."""

    step: int = 0
    """Steps done."""
    losses: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """Of the steps of this epoch."""
    feed: dict[str, Tensor] = field(default_factory=dict)
    """What the feed draws this epoch's batches from again."""
    epoch_s: float = 0.0
    """Time spent in this epoch, s."""
    records: list[Record] = field(default_factory=list)
    """Epochs that are done."""
    files: dict[str, str] = field(default_factory=dict)
    """Checkpoints in the output folder, and the names under which the store keeps them."""
    seconds: float = 0.0
    """Time spent in training, s."""

    def to_dict(self) -> dict[str, Any]:
        """Tensors, numbers, lists and dictionaries."""
        return {
            **vars(self),
            "losses": torch.from_numpy(self.losses),
            "records": [record.to_dict() for record in self.records],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Progress:
        """The inverse of `to_dict`.

        Args:
            data: what it returned.
        """
        records = [Record.from_dict(record) for record in data["records"]]
        return cls(**{**data, "losses": data["losses"].numpy(), "records": records})


class Learning:
    """One training, from wherever it stands to its end."""

    def __init__(
        self,
        trainer: Trainer,
        data: Source,
        judges: Judges,
        out: Path,
        save: Callable[[Path], None],
        store: StateStore,
    ) -> None:
        """Put the parts together.

        Args:
            trainer: takes the steps.
            data: training windows.
            judges: of the averaged weights.
            out: folder of the stage.
            save: writes a checkpoint of the trainer's weights.
            store: of the state to resume from.
        """
        self.trainer, self.data, self.judges = trainer, data, judges
        self.feed = Feed(data, trainer)
        self.out, self.save, self.store = out, save, store
        self.params = trainer.params
        self.steps = self.feed.steps
        """Steps of an epoch."""
        self.progress = Progress()
        device = next(trainer.model.parameters()).device
        self._losses = torch.zeros(self.steps, device=device)
        self._session = self._epoch = 0.0
        self._may_save = self._next_save = 0.0

    def resume(self) -> None:
        """Go to where the store's state was saved, on every worker; say so. Nothing without one."""
        workers = self.trainer.workers
        state = workers.share(self.store.load() if workers.leads else None)
        if state is None:
            return
        self.trainer.load_state_dict(state["trainer"])
        self.progress = Progress.from_dict(state["progress"])
        index = len(self.progress.losses)
        self._losses[:index] = torch.from_numpy(self.progress.losses).to(self._losses.device)
        self.feed.resume(self.progress.feed, index)
        if not workers.leads:
            return
        for name, kept in self.progress.files.items():
            self.store.restore(kept, self.out / name)
        epoch = min(self.progress.step // self.steps + 1, self.params.num_epochs)
        console.print(
            f"Resumed in epoch {epoch}/{self.params.num_epochs} after step {self.progress.step} of "
            f"{self.trainer.num_steps}"
        )

    def run(self, curves: Curves | None, summarise: Callable[[Progress], None]) -> None:
        """Train to the end.

        Args:
            curves: where epochs are logged; None on workers that do not lead.
            summarise: called after every epoch.

        Raises:
            LearningError: the loss is not finite, memory ran out, or a worker is gone; the last
                good state is kept.
            BundleError: a checkpoint cannot be written.
            SystemExit: a signal asked for the end; the state is kept.
        """
        progress = self.progress
        if curves is not None:
            for record in progress.records:
                curves.write(record)
        self._session = time.perf_counter() - progress.seconds
        self._epoch = time.perf_counter() - progress.epoch_s
        self._next_save = time.monotonic() + self.params.state_every_s
        remaining = range(progress.step, self.trainer.num_steps)
        with StopSignal() as stop:
            try:
                for step in track(remaining, "Training", len(remaining)):
                    self._step(step, stop)
                    progress.step = step + 1
                    if progress.step % self.steps == 0 and curves is not None:
                        self._end_epoch(step, curves)
                        progress.seconds = time.perf_counter() - self._session
                        summarise(progress)
                    self._pause(stop)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise self._exhausted(error) from error

    def _step(self, step: int, stop: StopSignal) -> None:
        index = step % self.steps
        if index == 0:
            self._epoch = time.perf_counter()
        batch = self.feed.batch(index)
        try:
            self._losses[index] = self.trainer.step(step, batch)
        except WorkerError as error:
            leads = self.trainer.workers.leads
            if stop.number and not leads:
                raise SystemExit(stop.status) from error  # all were told to end: no accident
            self.feed.take_back()
            kept = self._save_state() if leads else ""
            raise LearningError(
                f"{error} in step {step + 1} of {self.trainer.num_steps}{kept}"
            ) from error

    def _end_epoch(self, step: int, curves: Curves) -> None:
        losses = self._losses.cpu().numpy()
        seconds = time.perf_counter() - self._epoch
        self._require_finite(losses, step + 1 - self.steps)
        progress, ema = self.progress, self.trainer.ema
        number = progress.step // self.steps
        every = self.params.rollout_every
        due = every > 0 and (number % every == 0 or number == self.params.num_epochs)
        score = self.judges.roll_out(ema) if due and self.judges.roll_out is not None else None
        row = Epoch(
            epoch=number,
            train_loss=float(losses.mean()),
            val_loss=self.judges.validate(ema),
            lr=learning_rate(step, self.trainer.num_steps, self.params),
            score=score,
            samples_per_s=len(self.data) * self.params.noise_draws / seconds,
        )
        parts = np.split(losses, range(CURVE_STEPS, len(losses), CURVE_STEPS))
        points = [float(part.mean()) for part in parts]
        record = Record(row, points, self.steps, float(self.trainer.gradient_norm()))
        curves.write(record)
        self._print(row)
        progress.records.append(record)
        self._keep_checkpoints(row)
        self._next_save = min(self._next_save, self._may_save)

    def _print(self, row: Epoch) -> None:
        console.print(
            f"Epoch {row.epoch}/{self.params.num_epochs}: train_loss={digits(row.train_loss)}, "
            f"val_loss={digits(row.val_loss)}"
        )
        if row.score is not None:
            console.print(f"  Closed loop: {_words(row.score)}")

    def _keep_checkpoints(self, row: Epoch) -> None:
        select = self.params.select
        names = {}
        if best_epoch((past.row for past in self.progress.records), select) is row:
            names["best_model.pt"] = f"best_epoch_{row.epoch}.pt"
        if row.epoch % self.params.save_freq == 0:
            name = f"checkpoint_epoch_{row.epoch}.pt"
            names[name] = name
        for name in names:
            self.save(self.out / name)
        self.progress.files |= names
        if "best_model.pt" in names:
            loss = f"val_loss={digits(row.val_loss)}"
            why = _words(row.score) if row.score is not None and select == "rollout" else loss
            console.print(f"  → Best model saved ({why})")

    def _pause(self, stop: StopSignal) -> None:
        """Between two steps: save the state if it is time, end if that was asked for."""
        if not self.trainer.workers.leads:
            return  # it stops when the one that leads is gone: states are saved between steps
        if stop.number:
            kept = self._save_state()
            console.print(
                f"Stopped by {stop.name} after step {self.progress.step} of "
                f"{self.trainer.num_steps}{kept}"
            )
            raise SystemExit(stop.status)
        if time.monotonic() >= self._next_save:
            self._save_state()

    def _save_state(self) -> str:
        """Keep where the training stands; returns the half sentence that says so."""
        started, progress = time.monotonic(), self.progress
        index = progress.step % self.steps
        progress.losses = self._losses[:index].cpu().numpy().copy()
        self._require_finite(progress.losses, progress.step - index)
        if not self.trainer.is_finite():
            raise self._diverged("a weight", progress.step)
        progress.seconds = time.perf_counter() - self._session
        progress.epoch_s = time.perf_counter() - self._epoch
        progress.feed = self.feed.state_dict()
        state = {"trainer": self.trainer.state_dict(), "progress": progress.to_dict()}
        try:
            self.store.save(state, {kept: self.out / name for name, kept in progress.files.items()})
        except BundleError as error:
            console.print(f"This state of the training is not kept: {error}")
        now = time.monotonic()
        self._may_save = now + (now - started) / SAVING_SHARE
        self._next_save = max(self._may_save, now + self.params.state_every_s)
        if not self.store.owned:
            return "; no state is kept, because another process trains the same"
        return f"; {self.store.folder} keeps the state, run the same command again to go on"

    def _require_finite(self, losses: NDArray[np.float32], first_step: int) -> None:
        bad = first_not_finite(losses)
        if bad is not None:
            raise self._diverged("the loss", first_step + bad + 1)

    def _exhausted(self, error: RuntimeError) -> LearningError:
        """The error that says which batch to try; the state saved last stays."""
        batch, first = self.params.batch_windows, str(error).splitlines()[0]
        return LearningError(
            f"{self._losses.device} ran out of memory in step {self.progress.step + 1} of "
            f"{self.trainer.num_steps} with batches of {batch} windows ({first}). Free memory and "
            "run the same command again: it goes on from the last saved state; or train afresh "
            f"with train.batch_size {max(1, batch // 2)} (auto takes what fits)"
        )

    def _diverged(self, what: str, step: int) -> LearningError:
        """The error that says where it happened, after the last good weights are put aside."""
        rate = learning_rate(step - 1, self.trainer.num_steps, self.params)
        state = self.store.load()
        kept = "no weights from before were kept"
        if state is not None:
            self.trainer.load_state_dict(state["trainer"])
            path = self.out / "last_good_model.pt"
            self.save(path)
            kept = f"{path} holds the weights of step {state['progress']['step']}"
        return LearningError(
            f"{what} became infinite or no number in step {step} of {self.trainer.num_steps} at "
            f"learning rate {rate:.2e}; {kept}. Lower train.lr (now {self.params.lr:.2e}) or look "
            "for outliers in the data set"
        )


def digits(loss: float) -> str:
    """Four decimals, six where four would show no more than a digit or two.

    Args:
        loss: of an epoch.
    """
    return f"{loss:.4f}" if loss >= 0.01 else f"{loss:.6f}"


def _words(score: Score) -> str:
    return f"success={score.success:.1%}, median error {score.error_mm:.1f} mm"
