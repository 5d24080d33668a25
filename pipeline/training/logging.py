"""Log epochs to history.csv, TensorBoard and DVCLive, and format them for the console."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from dvclive.live import Live
from torch.utils.tensorboard import SummaryWriter

from pipeline.training.selection import Epoch, Score

logger = logging.getLogger(__name__)

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
        self._live = _live(out / "dvclive")

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
        if self._live is not None:
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
        if self._live is None:
            return
        self._live.step = epoch
        for name, value in scalars.items():
            self._live.log_metric(name, value)
        self._live.make_summary()


class _Live(Live):
    """DVCLive without the parts that need a network, a commit or DVC's own files.

    DVCLive opens the databases of the DVC repository that it runs in, and leaves them open.
    """

    def __init__(self, folder: Path) -> None:
        self._dvc_repo = None
        try:
            super().__init__(str(folder), save_dvc_exp=False, dvcyaml=None)
        except Exception:
            self._close()
            raise

    def post_data_to_studio(self) -> None:
        """Post nothing: DVCLive starts a thread for it, which fails where memory ran out."""

    def end(self) -> None:
        try:
            super().end()  # type: ignore[no-untyped-call]
        finally:
            self._close()

    def _close(self) -> None:
        if self._dvc_repo is not None:
            self._dvc_repo.close()


def _live(folder: Path) -> Live | None:
    """Open DVCLive without network, commits or DVC's own files; None where it fails."""
    try:
        return _quietly(lambda: _Live(folder))
    except (
        Exception
    ) as error:  # git and DVC raise errors of many kinds; logging must not end a training
        logger.warning("training goes on without DVCLive: %s", error)
        return None


def _quietly(make: Callable[[], Live]) -> Live:
    """Open DVCLive with its own messages turned off."""
    loud = logging.getLogger("dvclive")
    level = loud.level
    loud.setLevel(logging.WARNING)
    try:
        return make()
    finally:
        loud.setLevel(level)


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
