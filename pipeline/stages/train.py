"""Train the diffusion policy: data set in, checkpoints and learning curves out."""

from __future__ import annotations

import csv
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from pipeline.data.store import Dataset, load_dataset
from pipeline.data.windows import window_index
from pipeline.errors import PipelineError
from pipeline.kinematics import Geometry
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.bundle import Bundle, make_config, save_bundle
from pipeline.policy.model import PolicyModel
from pipeline.policy.policy import choose_device
from pipeline.policy.training import (
    Trainer,
    Validation,
    Windows,
    first_not_finite,
    learning_rate,
    seeded_generators,
)
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.model import RobotModel
from pipeline.run import OutputError, console, track, write_json

NUM_EXAMPLES = 256
"""Held-out observations that a checkpoint carries; exports are checked on them."""
CURVE_STEPS = 50
"""Steps that one point of TensorBoard's loss curve averages."""
OUTPUTS = ("best_model.pt", "final_model.pt", "config.json", "history.csv", "metrics.json")


class TrainError(PipelineError):
    """Training cannot start, or its loss is no number any more."""


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv, and how fast it went."""

    epoch: int
    train_loss: float
    val_loss: float
    lr: float
    samples_per_s: float
    """Noised chunks that the network learnt from, a second."""


class Log:
    """The learning curves as files: history.csv for `dvc plots`, events for TensorBoard."""

    def __init__(self, out: Path) -> None:
        """Open both.

        Args:
            out: folder of the stage.
        """
        self._file = (out / "history.csv").open("w", newline="")
        # The evaluation's report depends on this file: the same training must write the same one,
        # so the speed goes to TensorBoard and metrics.json alone.
        names = [field.name for field in fields(Epoch) if field.name != "samples_per_s"]
        self._csv = csv.DictWriter(self._file, names, extrasaction="ignore")
        self._csv.writeheader()
        self._events = SummaryWriter(str(out / "tensorboard"))

    def __enter__(self) -> Log:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close both files."""
        self._events.close()
        self._file.close()

    def write(self, row: Epoch, losses: NDArray[np.float32], gradient_norm: float) -> None:
        """One epoch.

        Args:
            row: what history.csv keeps.
            losses: of every step of the epoch, shape (steps,).
            gradient_norm: of its last step.
        """
        self._csv.writerow(asdict(row))
        self._file.flush()
        first = (row.epoch - 1) * len(losses)
        for start in range(0, len(losses), CURVE_STEPS):
            part = losses[start : start + CURVE_STEPS]
            self._scalar("loss/step", float(part.mean()), first + start + len(part))
        last = row.epoch * len(losses)
        self._scalar("loss/train", row.train_loss, last)
        self._scalar("loss/val", row.val_loss, last)
        self._scalar("learning_rate", row.lr, last)
        self._scalar("gradient_norm", gradient_norm, last)
        self._scalar("samples_per_s", row.samples_per_s, last)
        self._events.flush()

    def _scalar(self, name: str, value: float, step: int) -> None:
        self._events.add_scalar(name, value, step)


def run(params: Params, out: Path, data_path: Path | None = None) -> None:
    """Train a policy.

    Args:
        params: sections policy and train; task and robot for the layout, dataset for the split
            of a zarr that has none.
        out: folder for checkpoints, history.csv, metrics.json and TensorBoard events. What an
            earlier training left in it is replaced, other files stay.
        data_path: training zarr; None takes the one that stage dataset writes.

    Raises:
        TrainError: no training or validation episodes, or the loss is not finite.
        PipelineError: the data set is missing or of another layout, or a parameter does not fit.
    """
    if params.train.threads:
        torch.set_num_threads(params.train.threads)
    device = choose_device(params.train.device)
    path = data_path or Path("artifacts/dataset") / f"{params.task.object}_grasp.zarr"
    dataset = load_dataset(path, Layout.from_params(params), params.dataset)
    train, val = (_windows(dataset, split, params, device) for split in ("train", "val"))
    _prepare(out)
    geometry = Geometry(
        kinematic_chain(RobotModel.from_params(params.robot)), params.task.object_length_m / 2
    )
    weights, shuffling, fixed = seeded_generators(params.train.seed, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights.initial_seed())
        model = PolicyModel(params.policy, dataset.layout, geometry).to(device)
    every = np.linspace(0, len(val) - 1, min(NUM_EXAMPLES, len(val))).astype(np.int64)
    examples = val.batch(torch.from_numpy(every).to(device))[0].cpu()
    config = make_config(params.policy, dataset.layout, geometry, dataset.rate_hz)
    stats = {name: dict(columns) for name, columns in dataset.stats.items()}
    num_steps = params.train.num_epochs * -(-len(train) // params.train.batch_size)
    trainer = Trainer(model, params.train, num_steps, shuffling)
    rows = (train.obs_rows, train.action_rows)
    model.fit(train.state, train.action, rows, partial(trainer.perturb, generator=shuffling))
    trainer.ema.load_state_dict(model.state_dict())

    def save(name: str) -> None:
        states = [
            {key: value.cpu().clone() for key, value in module.state_dict().items()}
            for module in (model, trainer.ema)
        ]
        save_bundle(
            out / name, Bundle(states[0], states[1], config, stats, dataset.layout, examples)
        )

    write_json(out / "config.json", {**config, "train": params.train.model_dump(mode="json")})
    started = time.perf_counter()
    with Log(out) as log:
        history = _learn(trainer, train, Validation(val, model, fixed), log, save)
    save("final_model.pt")
    best = min(history, key=lambda row: row.val_loss)
    metrics = {
        "epochs": len(history),
        "train_loss": history[-1].train_loss,
        "val_loss": history[-1].val_loss,
        "best_val_loss": best.val_loss,
        "best_epoch": best.epoch,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seconds": time.perf_counter() - started,
        "samples_per_s": float(np.median([row.samples_per_s for row in history])),
    }
    write_json(out / "metrics.json", metrics)


def _learn(
    trainer: Trainer,
    data: Windows,
    validation: Validation,
    log: Log,
    save: Callable[[str], None],
) -> list[Epoch]:
    """The training loop: batch, step, and once an epoch validate, log and save."""
    params, device = trainer.params, data.state.device
    steps = trainer.num_steps // params.num_epochs
    losses = torch.zeros(steps, device=device)
    order, started = torch.arange(0), 0.0
    history: list[Epoch] = []
    for step in track(range(trainer.num_steps), "Training", trainer.num_steps):
        epoch, index = divmod(step, steps)
        if index == 0:
            order = torch.randperm(len(data), generator=trainer.generator, device=device)
            started = time.perf_counter()
        obs, action = data.batch(order[index * params.batch_size : (index + 1) * params.batch_size])
        losses[index] = trainer.step(step, obs, action)
        if index < steps - 1:
            continue
        curve = losses.cpu().numpy()
        seconds = time.perf_counter() - started
        _require_finite(curve, epoch * steps, trainer)
        row = Epoch(
            epoch=epoch + 1,
            train_loss=float(curve.mean()),
            val_loss=validation.loss(trainer.ema),
            lr=learning_rate(step, trainer.num_steps, params),
            samples_per_s=len(data) * params.noise_draws / seconds,
        )
        log.write(row, curve, float(trainer.gradient_norm()))
        console.print(
            f"Epoch {row.epoch}/{params.num_epochs}: train_loss={_digits(row.train_loss)}, "
            f"val_loss={_digits(row.val_loss)}"
        )
        if row.val_loss < min((past.val_loss for past in history), default=math.inf):
            save("best_model.pt")
            console.print(f"  → Best model saved (val_loss={_digits(row.val_loss)})")
        if row.epoch % params.save_freq == 0:
            save(f"checkpoint_epoch_{row.epoch}.pt")
        history.append(row)
    return history


def _digits(loss: float) -> str:
    """Four decimals, six where four would show no more than a digit or two."""
    return f"{loss:.4f}" if loss >= 0.01 else f"{loss:.6f}"


def _require_finite(losses: NDArray[np.float32], first_step: int, trainer: Trainer) -> None:
    bad = first_not_finite(losses)
    if bad is not None:
        step = first_step + bad
        rate = learning_rate(step, trainer.num_steps, trainer.params)
        raise TrainError(
            f"the loss became {losses[bad]} in step {step + 1} of {trainer.num_steps} at learning "
            f"rate {rate:.2e}; lower train.lr (now {trainer.params.lr:.2e}) or look for outliers "
            "in the data set"
        )


def _windows(dataset: Dataset, split: str, params: Params, device: torch.device) -> Windows:
    episodes = dataset.episodes(split)
    if not len(episodes):
        raise TrainError(
            f"{dataset.path}: none of its {dataset.num_episodes} episodes is in the split {split}; "
            f"change dataset.val_fraction and test_fraction, or add episodes"
        )
    rows = window_index(
        dataset.episode_ends, episodes, params.policy.n_obs_steps, params.policy.horizon
    )
    arrays = (dataset.state, dataset.action, *rows)
    return Windows(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays))


def _prepare(out: Path) -> None:
    """Make the folder and remove what an earlier training left there, and only that."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, expected a folder to write to; name another --out")
    out.mkdir(parents=True, exist_ok=True)
    for path in (*(out / name for name in OUTPUTS), *out.glob("checkpoint_epoch_*.pt")):
        path.unlink(missing_ok=True)
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
