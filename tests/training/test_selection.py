from __future__ import annotations

from pipeline.training.selection import Epoch, Score, best_epoch


def epoch(number: int, val_loss: float, score: Score | None = None) -> Epoch:
    return Epoch(number, 0.5, val_loss, 1e-3, score, 100.0)


def test_a_closed_loop_outranks_a_validation_loss_unless_that_was_asked_for() -> None:
    history = [epoch(1, 0.1), epoch(2, 0.3, Score(0.5, 4.0)), epoch(3, 0.2)]
    assert best_epoch(history, "rollout").epoch == 2
    assert best_epoch(history, "val_loss").epoch == 1


def test_equal_success_is_decided_by_the_error_and_never_by_the_loss() -> None:
    history = [epoch(1, 0.1, Score(1.0, 2.0)), epoch(2, 0.2, Score(1.0, 1.0))]
    assert best_epoch(history, "rollout").epoch == 2
    assert best_epoch([*history, epoch(3, 0.0, Score(0.9, 0.1))], "rollout").epoch == 2


def test_of_equals_the_first_is_the_best() -> None:
    assert best_epoch([epoch(1, 0.1), epoch(2, 0.1)], "rollout").epoch == 1


def test_columns_hold_nothing_that_differs_between_equal_trainings() -> None:
    plain, rolled = epoch(1, 0.1), epoch(2, 0.2, Score(0.5, 4.0))
    assert list(plain.columns()) == list(rolled.columns())
    assert list(plain.columns()) == ["epoch", "train_loss", "val_loss", "lr", "success", "error_mm"]
    assert plain.columns()["success"] == ""
    assert rolled.columns()["error_mm"] == 4.0


def test_epochs_survive_a_round_trip() -> None:
    for row in (epoch(1, 0.1), epoch(2, 0.2, Score(0.5, 4.0))):
        assert Epoch.from_dict(row.to_dict()) == row
