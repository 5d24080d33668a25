"""A training of seconds on made-up data, which may be stopped, and goes on from its saved state."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from torch import Tensor

from bench.train import made_up_training
from pipeline.params import Params
from pipeline.policy.checkpoint import write_whole
from pipeline.policy.model import PolicyModel
from pipeline.training.logging import TrainingLog
from pipeline.training.loop import Evaluators, TrainingLoop
from pipeline.training.resume import StateStore
from pipeline.training.trainer import Validation

WINDOWS = 600


def train_small(
    params: Params, device: torch.device, folder: Path, stop_in_epoch: int | None
) -> tuple[dict[str, Tensor], int]:
    """Train, from the saved state where there is one.

    Args:
        params: of the training.
        device: where it runs.
        folder: for its state and checkpoints.
        stop_in_epoch: epoch in which the process sends itself SIGTERM, from 1; None for none.

    Returns:
        The averaged weights on the CPU, and the number of steps done.
    """
    folder.mkdir(exist_ok=True)
    size = params.train.batch_windows
    steps = params.train.num_epochs * -(-(WINDOWS - params.policy.horizon) // size)
    trainer, data = made_up_training(params, device, WINDOWS, steps)
    validation = Validation(data, trainer.model, torch.Generator(device).manual_seed(1))
    epochs = 0

    def validate(model: PolicyModel) -> float:
        nonlocal epochs
        epochs += 1
        if epochs == stop_in_epoch:
            os.kill(os.getpid(), signal.SIGTERM)
        return validation.loss(model)

    def save(path: Path) -> None:
        write_whole(path, {"ema": trainer.ema.state_dict()})

    evaluators = Evaluators(validate, None)
    with StateStore(folder / "states", "small") as store, TrainingLog(folder) as log:
        learning = TrainingLoop(trainer, data, evaluators, folder, save, store)
        learning.resume()
        try:
            learning.run(log, lambda progress: None)
        except SystemExit:
            if stop_in_epoch is None:
                raise
    weights = {name: value.cpu().clone() for name, value in trainer.ema.state_dict().items()}
    return weights, learning.progress.step
