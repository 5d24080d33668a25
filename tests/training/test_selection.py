from __future__ import annotations

import numpy as np

from pipeline.training.selection import Epoch, Score, best_epoch


def epoch(number: int, val_loss: float, score: Score | None = None) -> Epoch:
    return Epoch(number, 0.5, val_loss, 1e-3, score, 100.0)


def test_a_closed_loop_outranks_a_validation_loss_unless_that_was_asked_for() -> None:
    history = [epoch(1, 0.1), epoch(2, 0.3, Score(0.5, 4.0, 80)), epoch(3, 0.2)]
    assert best_epoch(history, "rollout").epoch == 2
    assert best_epoch(history, "val_loss").epoch == 1
    nothing_reached = [epoch(1, 0.0), epoch(2, 0.3, Score(0.0, 400.0, 80))]
    assert best_epoch(nothing_reached, "rollout").epoch == 2


def test_the_latest_epoch_within_one_standard_error_of_the_best_is_taken() -> None:
    # One standard error of 0.9 in 80 rollouts is 0.034.
    history = [epoch(1, 0.1, Score(0.9, 2.0, 80)), epoch(2, 0.2, Score(0.87, 3.0, 80))]
    assert best_epoch(history, "rollout").epoch == 2
    assert best_epoch([*history, epoch(3, 0.0, Score(0.86, 0.1, 80))], "rollout").epoch == 2
    assert best_epoch([*history, epoch(3, 0.9, Score(0.95, 9.0, 80))], "rollout").epoch == 3


def test_one_weak_epoch_does_not_replace_a_perfect_one() -> None:
    history = [epoch(1, 0.2, Score(1.0, 2.0, 80)), epoch(2, 0.1, Score(0.9875, 1.0, 80))]
    assert best_epoch(history, "rollout").epoch == 1


def test_an_epoch_once_passed_over_is_never_taken_later() -> None:
    """The weights of an epoch are written only if it is the best one when it ends."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores = [Score(float(k) / 20, 1.0, 20) for k in rng.integers(0, 21, size=6)]
        history = [epoch(number, 0.1, score) for number, score in enumerate(scores, start=1)]
        written = [
            row for i, row in enumerate(history) if best_epoch(history[: i + 1], "rollout") is row
        ]
        assert best_epoch(history, "rollout") is written[-1]


def test_of_equal_losses_the_first_is_the_best() -> None:
    assert best_epoch([epoch(1, 0.1), epoch(2, 0.1)], "rollout").epoch == 1


def test_columns_hold_nothing_that_differs_between_equal_trainings() -> None:
    plain, rolled = epoch(1, 0.1), epoch(2, 0.2, Score(0.5, 4.0, 80))
    assert list(plain.columns()) == list(rolled.columns())
    assert list(plain.columns()) == ["epoch", "train_loss", "val_loss", "lr", "success", "error_mm"]
    assert plain.columns()["success"] == plain.columns()["error_mm"] == ""
    assert rolled.columns()["error_mm"] == 4.0


def test_epochs_survive_a_round_trip() -> None:
    for row in (epoch(1, 0.1), epoch(2, 0.2, Score(0.5, 4.0, 80))):
        assert Epoch.from_dict(row.to_dict()) == row
