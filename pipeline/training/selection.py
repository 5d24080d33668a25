"""Record what was measured of each epoch, and choose the best one. Pure."""

from __future__ import annotations

import math
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
    rollouts: int
    """Number of rollouts."""

    @property
    def standard_error(self) -> float:
        """Standard error of the success: scores closer than this cannot be told apart."""
        return math.sqrt(self.success * (1 - self.success) / self.rollouts)


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

    def columns(self) -> dict[str, Any]:
        """Row of history.csv without the speed; empty where nothing was measured."""
        row = asdict(self)
        del row["samples_per_s"]
        score = row.pop("score") or {"success": "", "error_mm": ""}
        return {**row, "success": score["success"], "error_mm": score["error_mm"]}

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
    """The epoch with the best weights.

    A closed loop outranks every validation loss: on data with several ways to a goal that loss
    measures which way was guessed, not how well one is followed. A few dozen rollouts cannot tell
    good weights from slightly better ones, so the latest epoch within one standard error of the
    best one is taken (Breiman et al. 1984, section 3.4.3).

    Args:
        history: at least one epoch.
        select: `rollout`, or `val_loss`: then the smallest loss wins, the first one in a tie.
    """
    rows = list(history)
    scored = [(row, row.score) for row in rows if row.score is not None]
    if select == "val_loss" or not scored:
        return min(rows, key=lambda row: row.val_loss)
    best = max((score for _, score in scored), key=lambda score: score.success)
    least = best.success - best.standard_error
    return [row for row, score in scored if score.success >= least][-1]
