"""Log epochs to history.csv, TensorBoard and DVCLive, and format them for the console."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from dvclive.live import Live
from torch.utils.tensorboard import SummaryWriter

from pipeline.training.selection import Epoch, Score

CURVE_STEPS = 50
"""Steps that one point of TensorBoard's loss curve averages."""


@dataclass(frozen=True)
class Record:
    """An epoch with the details that only its curves show."""

    row: Epoch
    losses: list[float]
    """Means of `CURVE_STEPS` steps each; the last one covers the remaining steps."""
    steps: int
    """Steps of the epoch."""
    gradient_norm: float
    """Of the last step."""

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dictionaries, for a saved state."""
        return {
            "row": self.row.to_dict(),
            "losses": self.losses,
            "steps": self.steps,
            "gradient_norm": self.gradient_norm,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Record:
        """The inverse of `to_dict`.

        Args:
            data: what it returned.
        """
        return cls(**{**data, "row": Epoch.from_dict(data["row"])})


class TrainingLog:
    """Writes each epoch to three places.

    Stage evaluate depends on history.csv, so the same training must always write the same file.
    Speeds vary, so they go to the other two only.
    """

    def __init__(self, out: Path) -> None:
        """Open all three.

        Args:
            out: folder of the stage.
        """
        self._file = (out / "history.csv").open("w", newline="")
        self._csv: csv.DictWriter[str] | None = None
        self._events = SummaryWriter(str(out / "tensorboard"))
        self._live: Live = _Live(str(out / "dvclive"), save_dvc_exp=False, dvcyaml=None)

    def __enter__(self) -> TrainingLog:
        """Return the log itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close them."""
        self._events.close()
        self._file.close()
        self._live.end()

    def write(self, record: Record) -> None:
        """Add an epoch.

        Args:
            record: the next epoch; after an interruption the earlier ones come first.
        """
        row = record.row
        columns = row.columns()
        if self._csv is None:
            self._csv = csv.DictWriter(self._file, list(columns))
            self._csv.writeheader()
        self._csv.writerow(columns)
        self._file.flush()
        first = (row.epoch - 1) * record.steps
        for index, loss in enumerate(record.losses):
            end = min((index + 1) * CURVE_STEPS, record.steps)
            self._events.add_scalar("loss/step", loss, first + end)
        scalars = {
            "loss/train": row.train_loss,
            "loss/val": row.val_loss,
            "optimizer/learning_rate": row.lr,
            "optimizer/gradient_norm": record.gradient_norm,
            "speed/samples_per_s": row.samples_per_s,
        }
        if row.score is not None:
            scalars["closed_loop/success"] = row.score.success
            scalars["closed_loop/error_mm"] = row.score.error_mm
        for name, value in scalars.items():
            self._events.add_scalar(name, value, row.epoch * record.steps)
        self._events.flush()
        self._follow(row.epoch, scalars)

    def _follow(self, epoch: int, scalars: dict[str, float]) -> None:
        self._live.step = epoch
        for name, value in scalars.items():
            self._live.log_metric(name, value)
        self._live.make_summary()


class _Live(Live):
    """DVCLive that writes its folder only: no DVC repository, no network and no thread.

    With a repository it would open its databases and leave them open, and it would fail in one
    without a commit.
    """

    def _init_dvc(self) -> None:
        """Open no repository."""

    def _init_studio(self) -> None:
        self._studio_events_to_skip |= {"start", "data", "done"}

    def post_data_to_studio(self) -> None:
        """Post nothing: DVCLive starts a thread for it, which fails where memory ran out."""


def digits(loss: float) -> str:
    """A loss with four decimals, or with six if four would show only a digit or two.

    Args:
        loss: of an epoch.
    """
    return f"{loss:.4f}" if loss >= 0.01 else f"{loss:.6f}"


def score_words(score: Score) -> str:
    """Format a closed loop's score for the console.

    Args:
        score: of an epoch.
    """
    return f"success={score.success:.1%}, median error {score.error_mm:.1f} mm"
