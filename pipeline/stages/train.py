"""Train the diffusion policy: data set in, checkpoints and learning curves out."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.collision_geometry import CollisionGeometry
from pipeline.dataset.store import Dataset, load_dataset
from pipeline.dataset.windows import window_index
from pipeline.errors import PipelineError
from pipeline.evaluation.rollout_validation import RolloutValidation, RolloutValidationError
from pipeline.hashing import folder_hash, sha256_file
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Bundle, make_config, save_bundle
from pipeline.policy.diffusion_policy import choose_device
from pipeline.policy.model import FIT_CHUNK, PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import ModelError, RobotModel
from pipeline.run import OutputError, console, state_root, write_json
from pipeline.training.distributed import (
    Workers,
    joined_workers,
    launch,
    torchrun_size,
    worker_device,
)
from pipeline.training.finetune import exceeding, load_initial
from pipeline.training.logging import Curves
from pipeline.training.loop import Judges, Learning, Progress
from pipeline.training.memory import BatchMemory, choose_batch, free_bytes
from pipeline.training.resume import StateStore, state_key
from pipeline.training.selection import Score, best_epoch
from pipeline.training.streaming import StreamedWindows, resident_bytes
from pipeline.training.threads import find_threads, remembered_threads, usable_cores
from pipeline.training.trainer import Trainer, Validation, Windows, seeded_generators

NUM_EXAMPLES = 256
"""Held-out observations that a checkpoint carries; exports are checked on them."""
OUTPUTS = (
    "best_model.pt", "final_model.pt", "last_good_model.pt", "config.json", "history.csv",
    "metrics.json",
)  # fmt: skip
NOT_DECISIVE = {"state_every_s", "launcher", "devices"}
"""Keys of section train that say how it is run, not what comes out."""


class TrainError(PipelineError):
    """Training cannot start."""


@dataclass(frozen=True)
class Inputs:
    """What a training is made of, on its device."""

    params: Params
    dataset: Dataset
    train: Windows | StreamedWindows
    val: Windows | StreamedWindows
    model: PolicyModel
    stats: dict[str, Any]
    """Statistics that a checkpoint carries."""
    generators: tuple[torch.Generator, torch.Generator]
    """Of training and of validation."""


def run(params: Params, out: Path, data_path: Path | None = None) -> None:
    """Train a policy; go on where an identical training was interrupted.

    Args:
        params: sections policy and train; task and robot for the layout, dataset for the split
            of a zarr that has none.
        out: folder for checkpoints, history.csv, metrics.json and TensorBoard events. What an
            earlier training left in it is replaced, other files stay.
        data_path: training zarr; None takes the one that stage dataset writes.

    Raises:
        TrainError: no training or validation episodes.
        LearningError: the loss is not finite, or a worker is gone.
        PipelineError: the data set is missing or of another layout, a parameter does not fit, or
            a file cannot be written.
        SystemExit: a signal asked for the end; the state is kept.
    """
    if params.train.launcher == "torchrun" and torchrun_size() == 1:
        _launch(params, out, data_path)
        return
    device = worker_device(choose_device(params.train.device))
    with joined_workers(device) as workers:
        _train(params, out, data_path, device, workers)


def _launch(params: Params, out: Path, data_path: Path | None) -> None:
    """The same command in several workers, with the parameters as they are now."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "params.yaml"
        chosen.write_text(json.dumps(params.model_dump(mode="json")))
        options: list[str | Path] = ["train", "--params", chosen, "--out", out]
        if data_path is not None:
            options += ["--data-path", data_path]
        launch(params.train.devices, options)


def _train(
    params: Params, out: Path, data_path: Path | None, device: torch.device, workers: Workers
) -> None:
    torch.set_num_threads(params.train.threads or 1)
    path = data_path or Path("artifacts/dataset") / f"{params.task.object}_grasp.zarr"
    limit = int(params.train.data_limit_gb * 1e9)
    dataset = load_dataset(path, Layout.from_params(params), params.dataset, limit)
    inputs = _fit_machine(_inputs(params, dataset, device), workers)
    params = inputs.params
    if workers.leads:
        _prepare(out)
    steps = params.train.num_epochs * -(-len(inputs.train) // params.train.batch_windows)
    trainer = Trainer(inputs.model, params.train, steps, inputs.generators[0], workers)
    _fit(inputs, trainer)
    config = make_config(
        params.policy, inputs.dataset.layout, inputs.model.geometry, inputs.dataset.rate_hz,
        _collision(params),
    )  # fmt: skip
    key = _key(params, path, device)
    judges = _judges(inputs) if workers.leads else Judges(lambda model: 0.0, None)
    save = partial(_save, inputs, trainer, config)
    store = StateStore(state_root("train"), key)
    if not workers.leads:
        learning = Learning(trainer, inputs.train, judges, out, save, store)
        learning.resume()
        learning.run(None, lambda progress: None)
        return
    write_json(out / "config.json", {**config, "train": params.train.model_dump(mode="json")})
    summarise = partial(_write_metrics, out, inputs)
    with store, Curves(out) as curves:
        if not store.owned:
            console.print(f"Another process trains the same, so no state is kept: {store.folder}")
        learning = Learning(trainer, inputs.train, judges, out, save, store)
        try:
            learning.resume()
            learning.run(curves, summarise)
            save(out / "final_model.pt")
            summarise(learning.progress)
        except OSError as error:
            raise OutputError(
                f"{out}: cannot be written ({error}); the checkpoints there are whole. Free some "
                "space and run the same command again: it goes on from the last saved state"
            ) from error
        store.remove()


def _collision(params: Params) -> CollisionGeometry | None:
    """Shapes that the guard of the runtime checks chunks with."""
    try:
        return collision_geometry(params.robot, params.task)
    except ModelError as error:
        console.print(f"No collision shapes, so the policy's chunks will not be checked: {error}")
        return None


def _inputs(params: Params, dataset: Dataset, device: torch.device) -> Inputs:
    train, val = (_windows(dataset, split, params, device) for split in ("train", "val"))
    geometry = policy_geometry(RobotModel.from_params(params.robot), params.task)
    weights, shuffling, fixed = seeded_generators(params.train.seed, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights.initial_seed())
        model = PolicyModel(params.policy, dataset.layout, geometry)
    stats = {name: dict(columns) for name, columns in dataset.stats.items()}
    if params.train.init_from is not None:
        initial = load_initial(params.train.init_from, model)
        if params.train.init_stats == "old":
            stats = initial.stats
    return Inputs(params, dataset, train, val, model.to(device), stats, (shuffling, fixed))


def _fit_machine(inputs: Inputs, workers: Workers) -> Inputs:
    """Check the batch against the device's memory, or choose it, and the number of threads."""
    train, model, device = inputs.params.train, inputs.model, inputs.train.device
    first = inputs.train.batch(torch.zeros(1, dtype=torch.int64, device=device))
    memory = BatchMemory(model, *first, train.noise_draws)
    batch = choose_batch(train.batch_size, memory, free_bytes(device), device)
    if workers.leads and train.batch_size == "auto":
        console.print(f"Batches of {batch} windows (train.batch_size is auto)")
    threads = train.threads or workers.share(_threads(inputs, batch) if workers.leads else None)
    torch.set_num_threads(threads)
    chosen = inputs.params.override("train", batch_size=batch, threads=threads)
    return replace(inputs, params=chosen)


def _threads(inputs: Inputs, batch: int) -> int:
    """CPU threads of a step: one where a GPU computes, else the number found for such steps."""
    data, model, draws = inputs.train, inputs.model, inputs.params.train.noise_draws
    if data.device.type != "cpu":
        return 1
    rows = torch.arange(batch) % len(data)
    find = partial(find_threads, model, *data.batch(rows), draws, usable_cores())
    shapes = [tuple(weight.shape) for weight in model.parameters()]
    threads = remembered_threads(state_root("threads"), f"{shapes}, {draws} × {batch}", find)
    console.print(f"{threads} CPU threads: the fastest here for this network and batch")
    return threads


def _fit(inputs: Inputs, trainer: Trainer) -> None:
    """Measure the ranges, or check that those of the checkpoint that is tuned still hold."""
    model, train, params = inputs.model, inputs.train, inputs.params.train
    old = params.init_from is not None and params.init_stats == "old"
    fitted = copy.deepcopy(model) if old else model
    perturb = partial(trainer.perturb, generator=trainer.generator)
    fitted.fit_batches(train.batches(FIT_CHUNK), perturb)
    if old:
        factor = exceeding(model, fitted)
        if factor > 1:
            console.print(
                f"Actions of {inputs.dataset.path} reach {factor:.2f} times as far as those that "
                f"{params.init_from} was trained on, and what lies beyond is cut off; "
                "train.init_stats: new takes the new range"
            )
    trainer.ema.load_state_dict(model.state_dict())


def _judges(inputs: Inputs) -> Judges:
    validation = Validation(inputs.val, inputs.model, inputs.generators[1])
    device = inputs.train.device
    if inputs.params.train.rollout_every == 0:
        return Judges(validation.loss, None)
    try:
        rollouts = RolloutValidation.from_dataset(inputs.dataset, inputs.params)
    except RolloutValidationError as error:
        console.print(
            f"No closed loop while training, the validation loss chooses: {inputs.dataset.path}: "
            f"{error}"
        )
        return Judges(validation.loss, None)

    def roll_out(model: PolicyModel) -> Score:
        @torch.inference_mode()
        def predict(obs: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float64]:
            batch = (torch.from_numpy(array).to(device) for array in (obs, noise))
            return np.asarray(model(*batch).cpu().numpy(), dtype=np.float64)

        return rollouts.score(predict)

    return Judges(validation.loss, roll_out)


def _save(inputs: Inputs, trainer: Trainer, config: dict[str, Any], path: Path) -> None:
    """Write a checkpoint of the weights as they are."""
    every = np.linspace(0, len(inputs.val) - 1, min(NUM_EXAMPLES, len(inputs.val)))
    rows = torch.from_numpy(every.astype(np.int64)).to(inputs.val.device)
    examples = inputs.val.batch(rows)[0].cpu()
    weights, averaged = (
        {key: value.cpu().clone() for key, value in module.state_dict().items()}
        for module in (trainer.model, trainer.ema)
    )
    layout = inputs.dataset.layout
    save_bundle(path, Bundle(weights, averaged, config, inputs.stats, layout, examples))


def _write_metrics(out: Path, inputs: Inputs, progress: Progress) -> None:
    """Write metrics.json: after every epoch, so that `dvc exp show` follows."""
    history = [record.row for record in progress.records]
    best, last = best_epoch(history, inputs.params.train.select), history[-1]
    metrics = {
        "epochs": len(history),
        "train_loss": last.train_loss,
        "val_loss": last.val_loss,
        "best_val_loss": min(row.val_loss for row in history),
        "best_epoch": best.epoch,
        **({} if best.score is None else {"best_closed_loop": asdict(best.score)}),
        "parameters": sum(weight.numel() for weight in inputs.model.parameters()),
        "seconds": progress.seconds,
        "samples_per_s": float(np.median([row.samples_per_s for row in history])),
    }
    write_json(out / "metrics.json", metrics)


def _key(params: Params, data: Path, device: torch.device) -> str:
    """Name of this training among the interrupted ones; devices differ in their last bits."""
    sections = params.model_dump(
        mode="json",
        include={"robot", "task", "dataset", "policy", "train"},
        exclude={"train": NOT_DECISIVE},
    )
    files = [params.robot.urdf, params.robot.srdf]
    if params.train.init_from is not None:
        files.append(params.train.init_from)
    hashes = [sha256_file(file) for file in files]
    return state_key(sections, hashes, folder_hash(data), device.type)


def _windows(
    dataset: Dataset, split: str, params: Params, device: torch.device
) -> Windows | StreamedWindows:
    episodes = dataset.episodes(split)
    if not len(episodes):
        raise TrainError(
            f"{dataset.path}: none of its {dataset.num_episodes} episodes is in the split {split}; "
            f"change dataset.val_fraction and test_fraction, or add episodes"
        )
    lengths = (params.policy.n_obs_steps, params.policy.horizon)
    limit = int(params.train.data_limit_gb * 1e9)
    if resident_bytes(dataset, episodes, lengths) > limit:
        rows = (dataset.state, dataset.action)
        return StreamedWindows(rows, dataset.episode_ends, episodes, lengths, limit, device)
    index = window_index(dataset.episode_ends, episodes, *lengths)
    arrays = (np.asarray(dataset.state[:]), np.asarray(dataset.action[:]), *index)
    return Windows(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays))


def _prepare(out: Path) -> None:
    """Make the folder and remove what an earlier training left there, and only that."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, expected a folder to write to; name another --out")
    out.mkdir(parents=True, exist_ok=True)
    for path in (*(out / name for name in OUTPUTS), *out.glob("checkpoint_epoch_*.pt")):
        path.unlink(missing_ok=True)
    for name in ("tensorboard", "dvclive"):
        shutil.rmtree(out / name, ignore_errors=True)
