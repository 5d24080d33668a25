"""Record what was measured of each epoch, and choose the best one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Select = Literal["rollout", "val_loss"]


@dataclass(frozen=True)
class Score:
    """Result of a small closed loop."""

    success: float
    """Share of rollouts that end at the grasp and touched nothing."""
    error_mm: float
    """Median distance from the grasp at the end, mm."""


@dataclass(frozen=True)
class Epoch:
    """Measurements of an epoch, counted from 1. A repeated training changes only the speed."""

    epoch: int
    train_loss: float
    val_loss: float
    lr: float
    score: Score | None
    """None where nothing was rolled out."""
    samples_per_s: float
    """Noisy chunks trained on per second."""

    def rank(self, select: Select) -> tuple[int, float, float]:
        """A key that is larger for better weights.

        Args:
            select: `val_loss`, or `rollout`: then a closed loop outranks every validation loss
                (on data with several ways to a goal that loss measures which way was guessed, not
                how well one is followed) and equal success is decided by the closed loop's error.
        """
        if self.score is None or select == "val_loss":
            return (0, -self.val_loss, 0.0)
        return (1, self.score.success, -self.score.error_mm)

    def columns(self) -> dict[str, Any]:
        """Row of history.csv without the speed; empty where nothing was measured."""
        row = asdict(self)
        del row["samples_per_s"]
        score = row.pop("score") or {"success": "", "error_mm": ""}
        return {**row, **score}

    def to_dict(self) -> dict[str, Any]:
        """Everything, as numbers and dictionaries."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Epoch:
        """The inverse of `to_dict`.

        Args:
            data: what it returned.
        """
        score = None if data["score"] is None else Score(**data["score"])
        return cls(**{**data, "score": score})


def best_epoch(history: Iterable[Epoch], select: Select) -> Epoch:
    """The epoch with the best weights; the first one wins a tie.

    Args:
        history: at least one epoch.
        select: see `Epoch.rank`.
    """
    return max(history, key=lambda row: row.rank(select))
