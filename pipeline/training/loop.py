"""The training loop: steps, and after each epoch validation, rollouts, logs and checkpoints.

The loop saves its state and resumes from it. Files and rollouts are passed in as functions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.policy.checkpoint import CheckpointError
from pipeline.policy.model import PolicyModel
from pipeline.run import console, track
from pipeline.training.batches.prefetcher import Prefetcher
from pipeline.training.batches.windows import Source
from pipeline.training.distributed import WorkerError
from pipeline.training.logging import CURVE_STEPS, Record, TrainingLog, digits, score_words
from pipeline.training.memory import is_out_of_memory
from pipeline.training.resume import Progress, StateStore, StopSignal
from pipeline.training.selection import Epoch, Score, best_epoch
from pipeline.training.trainer import Trainer, learning_rate

SAVING_SHARE = 0.05
"""Largest share of the time that saving states may take; it stretches `train.state_every_s`."""


class TrainingError(PipelineError):
    """The loss is not finite, memory ran out, or a worker ended early."""


@dataclass(frozen=True)
class Evaluators:
    """Functions that measure how good averaged weights are."""

    validate: Callable[[PolicyModel], float]
    """The validation loss."""
    roll_out: Callable[[PolicyModel], Score] | None
    """Score of a small closed loop; None where the data cannot be rolled out."""


class TrainingLoop:
    """One training, from its start or a saved state to its end."""

    def __init__(
        self,
        trainer: Trainer,
        data: Source,
        evaluators: Evaluators | None,
        out: Path,
        save: Callable[[Path], None],
        store: StateStore,
    ) -> None:
        """Connect the parts.

        Args:
            trainer: takes the steps.
            data: training windows.
            evaluators: measure the averaged weights; None in all processes but the main one.
            out: folder of the stage.
            save: writes a checkpoint of the trainer's weights.
            store: of the state to resume from.
        """
        self.trainer, self.data, self.evaluators = trainer, data, evaluators
        self.prefetcher = Prefetcher(data, trainer)
        self.out, self.save, self.store = out, save, store
        self.params = trainer.params
        self.steps = self.prefetcher.steps
        """Steps of an epoch."""
        self.progress = Progress()
        device = next(trainer.model.parameters()).device
        self._losses = torch.zeros(self.steps, device=device)
        self._session = self._epoch = 0.0
        self._may_save = self._next_save = 0.0

    def resume(self) -> None:
        """Load the saved state on every worker and print the step; do nothing without one."""
        workers = self.trainer.workers
        state = workers.broadcast(self.store.load() if workers.is_main else None)
        if state is None:
            return
        self.trainer.load_state_dict(state["trainer"])
        self.progress = Progress.from_dict(state["progress"])
        index = len(self.progress.losses)
        self._losses[:index] = torch.from_numpy(self.progress.losses).to(self._losses.device)
        self.prefetcher.resume(self.progress.prefetcher, index)
        if not workers.is_main:
            return
        for name, kept in self.progress.files.items():
            self.store.restore(kept, self.out / name)
        epoch = min(self.progress.step // self.steps + 1, self.params.num_epochs)
        console.print(
            f"Resumed in epoch {epoch}/{self.params.num_epochs} after step {self.progress.step} of "
            f"{self.trainer.num_steps}"
        )

    def run(self, log: TrainingLog | None, summarise: Callable[[Progress], None]) -> None:
        """Train to the last step.

        Args:
            log: where epochs are logged; None on all workers but the main process.
            summarise: called after every epoch.

        Raises:
            TrainingError: the loss is not finite, memory ran out, or a worker is gone; the last
                good state is kept.
            CheckpointError: a checkpoint cannot be written.
            SystemExit: a signal asked for the end; the state is kept.
        """
        progress = self.progress
        if log is not None:
            for record in progress.records:
                log.write(record)
        self._session = time.perf_counter() - progress.seconds
        self._epoch = time.perf_counter() - progress.epoch_s
        self._next_save = time.monotonic() + self.params.state_every_s
        remaining = range(progress.step, self.trainer.num_steps)
        with StopSignal() as stop:
            try:
                for step in track(remaining, "Training", len(remaining)):
                    self._step(step, stop)
                    progress.step = step + 1
                    if progress.step % self.steps == 0 and log and self.evaluators:
                        self._end_epoch(step, log, self.evaluators)
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
        batch = self.prefetcher.batch(index)
        try:
            self._losses[index] = self.trainer.step(step, batch)
        except WorkerError as error:
            is_main = self.trainer.workers.is_main
            if stop.number and not is_main:
                raise SystemExit(stop.status) from error  # every worker got the signal
            self.prefetcher.undo()
            kept = self._save_state() if is_main and not self.trainer.workers.late_errors else ""
            raise TrainingError(
                f"{error} in step {step + 1} of {self.trainer.num_steps}{kept}"
            ) from error

    def _end_epoch(self, step: int, log: TrainingLog, evaluators: Evaluators) -> None:
        losses = self._losses.cpu().numpy()
        seconds = time.perf_counter() - self._epoch
        self._require_finite(losses, step + 1 - self.steps)
        progress, ema = self.progress, self.trainer.ema
        number = progress.step // self.steps
        every = self.params.rollout_every
        due = every > 0 and (number % every == 0 or number == self.params.num_epochs)
        score = evaluators.roll_out(ema) if due and evaluators.roll_out is not None else None
        row = Epoch(
            epoch=number,
            train_loss=float(losses.mean()),
            val_loss=evaluators.validate(ema),
            lr=learning_rate(step, self.trainer.num_steps, self.params),
            score=score,
            samples_per_s=len(self.data) * self.params.noise_draws / seconds,
        )
        parts = np.split(losses, range(CURVE_STEPS, len(losses), CURVE_STEPS))
        points = [float(part.mean()) for part in parts]
        record = Record(row, points, self.steps, float(self.trainer.gradient_norm()))
        log.write(record)
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
            console.print(f"  Closed loop: {score_words(row.score)}")

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
            why = score_words(row.score) if row.score is not None and select == "rollout" else loss
            console.print(f"  → Best model saved ({why})")

    def _pause(self, stop: StopSignal) -> None:
        """Save the state when due, and end after a signal; called between two steps."""
        if not self.trainer.workers.is_main:
            return  # the main process saves and stops; the others follow it
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
        """Save the state; returns the end of a message that says where."""
        started, progress = time.monotonic(), self.progress
        index = progress.step % self.steps
        progress.losses = self._losses[:index].cpu().numpy().copy()
        self._require_finite(progress.losses, progress.step - index)
        if not self.trainer.is_finite():
            raise self._diverged("a weight", progress.step)
        progress.seconds = time.perf_counter() - self._session
        progress.epoch_s = time.perf_counter() - self._epoch
        progress.prefetcher = self.prefetcher.state_dict()
        state = {"trainer": self.trainer.state_dict(), "progress": progress.to_dict()}
        try:
            self.store.save(state, {kept: self.out / name for name, kept in progress.files.items()})
        except CheckpointError as error:
            console.print(f"The state of the training is not kept: {error}")
        now = time.monotonic()
        self._may_save = now + (now - started) / SAVING_SHARE
        self._next_save = max(self._may_save, now + self.params.state_every_s)
        if not self.store.owned:
            return "; no state is kept, because another process runs the same training"
        return f"; {self.store.folder} keeps the state, run the same command again to go on"

    def _require_finite(self, losses: NDArray[np.float32], first_step: int) -> None:
        bad = first_not_finite(losses)
        if bad is not None:
            raise self._diverged("the loss", first_step + bad + 1)

    def _exhausted(self, error: RuntimeError) -> TrainingError:
        """The error for exhausted memory; it names a batch to try."""
        batch, first = self.params.batch_windows, str(error).splitlines()[0]
        return TrainingError(
            f"{self._losses.device} ran out of memory in step {self.progress.step + 1} of "
            f"{self.trainer.num_steps} with batches of {batch} windows ({first}). Free memory and "
            "run the same command again: it goes on from the last saved state; or train afresh "
            f"with train.batch_size {max(1, batch // 2)} (auto takes what fits)"
        )

    def _diverged(self, what: str, step: int) -> TrainingError:
        """Save the last good weights; returns the error that names the step."""
        rate = learning_rate(step - 1, self.trainer.num_steps, self.params)
        state = self.store.load()
        kept = "no weights from before were kept"
        if state is not None:
            self.trainer.load_state_dict(state["trainer"])
            path = self.out / "last_good_model.pt"
            self.save(path)
            kept = f"{path} holds the weights of step {state['progress']['step']}"
        return TrainingError(
            f"{what} became infinite or NaN in step {step} of {self.trainer.num_steps} at "
            f"learning rate {rate:.2e}; {kept}. Lower train.lr (now {self.params.lr:.2e}) or look "
            "for outliers in the data set"
        )


def first_not_finite(losses: NDArray[np.float32]) -> int | None:
    """Index of the first loss that is no finite number, None where all are.

    Args:
        losses: shape (steps,).
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    return int(bad[0]) if len(bad) else None
