from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import CheckpointError, write_whole
from pipeline.training.batches.windows import Windows
from pipeline.training.distributed import WorkerError, Workers
from pipeline.training.logging import TrainingLog, digits
from pipeline.training.loop import Evaluators, TrainingError, TrainingLoop, first_not_finite
from pipeline.training.resume import Progress, StateStore
from pipeline.training.selection import Score
from pipeline.training.trainer import Prepared, Trainer, Validation
from tests.fixtures.policy import make_fitted, make_limits, random_states

SCORES = {2: Score(0.5, 9.0, 80), 4: Score(1.0, 3.0, 80), 5: Score(1.0, 2.0, 80)}


class SmallTraining:
    """A small training whose parts can be tampered with."""

    def __init__(self, params: Params, layout: Layout, out: Path, **train: object) -> None:
        rng = np.random.default_rng(0)
        small = params.override("policy", mlp_width=16, mlp_blocks=1, step_embedding=8)
        values = {"num_epochs": 5, "batch_size": 16, "rollout_every": 2, "save_freq": 3, **train}
        self.params = small.override("train", warmup_steps=2, **values).train
        model = make_fitted(small, layout, rng).train()
        states = torch.from_numpy(random_states(rng, layout, 60))
        rows = torch.arange(40)[:, None]
        self.windows = Windows(
            states, states[:, :6] + 0.1, rows + torch.arange(2), rows + torch.arange(16)
        )
        generator, limits = torch.Generator().manual_seed(0), make_limits(params)
        self.trainer = Trainer(model, self.params, 15, generator, limits)
        self.validation = Validation(self.windows, model, torch.Generator().manual_seed(1))
        self.out = out
        out.mkdir(exist_ok=True)

    def save(self, path: Path) -> None:
        write_whole(path, {"ema": self.trainer.ema.state_dict()})

    def learning(self, store: StateStore) -> TrainingLoop:
        scores = iter(SCORES.values())
        evaluators = Evaluators(self.validation.loss, lambda model: next(scores))
        return TrainingLoop(self.trainer, self.windows, evaluators, self.out, self.save, store)

    def run(self, store: StateStore) -> Progress:
        learning = self.learning(store)
        with TrainingLog(self.out) as log:
            learning.run(log, lambda progress: None)
        return learning.progress


def test_epochs_are_rolled_out_kept_and_said(
    params: Params, layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StateStore(tmp_path / "states", "a") as store:
        progress = SmallTraining(params, layout, tmp_path / "out").run(store)
    scores = {record.row.epoch: record.row.score for record in progress.records}
    assert scores == {1: None, 3: None, **SCORES}
    assert progress.files == {
        "best_model.pt": "best_epoch_5.pt",
        "checkpoint_epoch_3.pt": "checkpoint_epoch_3.pt",
    }
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Epoch ") for line in lines) == 5
    assert "  Closed loop: success=50.0%, median error 9.0 mm" in lines
    assert lines[-1] == "  → Best model saved (success=100.0%, median error 2.0 mm)"


def test_a_loss_that_is_no_number_leaves_the_last_good_weights(
    params: Params, layout: Layout, tmp_path: Path
) -> None:
    training = SmallTraining(params, layout, tmp_path / "out", state_every_s=0.0)
    step = training.trainer.step
    good: dict[int, dict[str, torch.Tensor]] = {}

    def poisoned(index: int, batch: Prepared) -> torch.Tensor:
        if index == 8:
            batch.clean[:] = torch.inf
        loss = step(index, batch)
        good[index + 1] = {k: v.clone() for k, v in training.trainer.ema.state_dict().items()}
        return loss

    training.trainer.step = poisoned  # type: ignore[method-assign]
    with StateStore(tmp_path / "states", "a") as store:
        with pytest.raises(TrainingError, match=r"in step 9 of 15 at learning rate \d") as error:
            training.run(store)
        state = store.load()
    assert state is not None
    kept = torch.load(tmp_path / "out/last_good_model.pt", weights_only=True)["ema"]
    torch.testing.assert_close(kept, good[state["progress"]["step"]])
    assert "last_good_model.pt holds the weights of step" in str(error.value)


def test_a_full_disk_costs_the_state_but_not_the_training(
    params: Params, layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = SmallTraining(params, layout, tmp_path / "out", state_every_s=0.0)
    with StateStore(tmp_path / "states", "a") as store:
        (store.folder / ".state.pt.partial").symlink_to("/dev/full")
        assert len(training.run(store).records) == 5
    assert "not kept" in capsys.readouterr().out


def test_a_checkpoint_that_cannot_be_written_ends_the_training_and_leaves_the_old_one(
    params: Params, layout: Layout, tmp_path: Path
) -> None:
    training = SmallTraining(params, layout, tmp_path / "out")
    (tmp_path / "out/best_model.pt").write_text("old")
    (tmp_path / "out/.best_model.pt.partial").symlink_to("/dev/full")
    with (
        StateStore(tmp_path / "states", "a") as store,
        pytest.raises(CheckpointError, match="No space"),
    ):
        training.run(store)
    assert (tmp_path / "out/best_model.pt").read_text() == "old"


@pytest.mark.parametrize("lost", [6, 7])  # the first of an epoch, and one in its midst
def test_a_lost_worker_leaves_a_state_of_before_its_step(
    params: Params, layout: Layout, tmp_path: Path, lost: int
) -> None:
    calm, training = (SmallTraining(params, layout, tmp_path / name) for name in ("calm", "lost"))
    with StateStore(tmp_path / "states", "calm") as store:
        calm.run(store)
    step = training.trainer.step
    training.trainer.workers = Workers(0, 2)

    def alone(index: int, batch: Prepared) -> torch.Tensor:
        if index == lost:
            raise WorkerError("a worker is gone")
        training.trainer.workers = Workers(0, 1)
        loss = step(index, batch)
        training.trainer.workers = Workers(0, 2)
        return loss

    training.trainer.step = alone  # type: ignore[method-assign]
    with StateStore(tmp_path / "states", "lost") as store:
        with pytest.raises(TrainingError, match=f"gone in step {lost + 1} of 15; .*run the same"):
            training.run(store)
        again = SmallTraining(params, layout, tmp_path / "lost")
        learning = again.learning(store)
        learning.resume()
        assert learning.progress.step == lost
        with TrainingLog(again.out) as log:
            learning.run(log, lambda progress: None)
    torch.testing.assert_close(
        dict(again.trainer.ema.state_dict()), dict(calm.trainer.ema.state_dict()), rtol=0, atol=0
    )


def test_with_errors_that_come_late_no_state_is_saved_after_one(
    params: Params, layout: Layout, tmp_path: Path
) -> None:
    training = SmallTraining(params, layout, tmp_path / "out", state_every_s=1e6)

    def lost(index: int, batch: Prepared) -> torch.Tensor:
        raise WorkerError("a worker is gone")

    training.trainer.step = lost  # type: ignore[method-assign]
    training.trainer.workers = Workers(0, 2, late_errors=True)
    with StateStore(tmp_path / "states", "a") as store:
        with pytest.raises(TrainingError, match=r"gone in step 1 of 15$"):
            training.run(store)
        assert store.load() is None


@pytest.mark.parametrize(
    ("loss", "text"), [(0.0523, "0.0523"), (0.000123, "0.000123"), (1.5, "1.5000")]
)
def test_losses_show_enough_digits(loss: float, text: str) -> None:
    assert digits(loss) == text


def test_the_first_loss_that_is_no_number_is_found() -> None:
    assert first_not_finite(np.array([1, 2], np.float32)) is None
    assert first_not_finite(np.array([1, np.inf, np.nan], np.float32)) == 1
