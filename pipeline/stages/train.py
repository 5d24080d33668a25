"""Train the diffusion policy: data set in, checkpoints and learning curves out."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.collision_geometry import CollisionGeometry
from pipeline.dataset.generic import load_generic
from pipeline.dataset.store import load_dataset
from pipeline.evaluation.rollout_validation import RolloutValidation, RolloutValidationError
from pipeline.hashing import folder_hash, sha256_file
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, make_config, save_checkpoint
from pipeline.policy.diffusion_policy import choose_device
from pipeline.policy.model import PolicyModel
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import ModelError, RobotModel
from pipeline.run import OutputError, console, state_root, write_json
from pipeline.training.contact import ContactCheck
from pipeline.training.distributed import (
    Workers,
    joined_workers,
    launch,
    torchrun_size,
    worker_device,
)
from pipeline.training.generic import NOTICE, without_arm
from pipeline.training.inputs import (
    Inputs,
    choose_machine,
    fit_ranges,
    make_inputs,
    with_rate,
)
from pipeline.training.logging import TrainingLog
from pipeline.training.loop import Evaluators, TrainingLoop
from pipeline.training.resume import Progress, StateStore, state_key
from pipeline.training.selection import Score, best_epoch
from pipeline.training.trainer import Trainer, Validation

NUM_EXAMPLES = 256
"""Held-out observations that a checkpoint carries; exports are checked on them."""
OUTPUTS = (
    "best_model.pt", "final_model.pt", "last_good_model.pt", "config.json", "history.csv",
    "metrics.json",
)  # fmt: skip
NOT_DECISIVE = {"state_every_s", "launcher", "devices"}
"""Keys of section train that change how training runs but not its result."""


def run(
    params: Params, out: Path, data_path: Path | None = None, rate_hz: float | None = None
) -> None:
    """Train a policy, or resume an identical training that was interrupted.

    Args:
        params: sections policy and train; task and robot for the layout, dataset for the split
            of a zarr that has none.
        out: folder for checkpoints, history.csv, metrics.json and TensorBoard events. What an
            earlier training left in it is replaced, other files stay.
        data_path: training zarr; None takes the one that stage dataset writes.
        rate_hz: control rate of a zarr that does not say its own, Hz.

    Raises:
        TrainError: no training or validation episodes, or the zarr has another rate.
        TrainingError: the loss is not finite, or a worker is gone.
        PipelineError: the data set is missing or of another layout, a parameter does not fit, or
            a file cannot be written.
        SystemExit: a signal asked for the end; the state is kept.
    """
    if params.train.launcher == "torchrun" and torchrun_size() == 1:
        _launch(params, out, data_path, rate_hz)
        return
    device = worker_device(choose_device(params.train.device))
    with joined_workers(device) as workers:
        _train(params, out, data_path, rate_hz, device, workers)


def _launch(params: Params, out: Path, data_path: Path | None, rate_hz: float | None) -> None:
    """Run the same command in several workers, with the current parameters."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "params.yaml"
        chosen.write_text(json.dumps(params.model_dump(mode="json")))
        options: list[str | Path] = ["train", "--params", chosen, "--out", out]
        if data_path is not None:
            options += ["--data-path", data_path]
        if rate_hz is not None:
            options += ["--rate-hz", str(rate_hz)]
        launch(params.train.devices, options)


def _train(
    params: Params,
    out: Path,
    data_path: Path | None,
    rate_hz: float | None,
    device: torch.device,
    workers: Workers,
) -> None:
    torch.set_num_threads(params.train.threads or 1)
    path = data_path or Path("artifacts/dataset") / f"{params.task.object}_grasp.zarr"
    limit = int(params.train.data_limit_gb * 1e9)
    if params.dataset.layout == "generic":
        params, dataset = without_arm(params), load_generic(path, params.dataset, limit)
        if workers.is_main:
            console.print(NOTICE)
    else:
        dataset = load_dataset(path, Layout.from_params(params), params.dataset, limit)
    dataset = with_rate(dataset, rate_hz, workers)
    inputs = choose_machine(make_inputs(params, dataset, device), workers)
    params = inputs.params
    if workers.is_main:
        _prepare(out)
    steps = params.train.num_epochs * -(-len(inputs.train) // params.train.batch_windows)
    trainer, shapes = _trainer(inputs, steps, workers)
    fit_ranges(inputs, trainer)
    config = make_config(
        params.policy,
        inputs.dataset.layout,
        inputs.model.geometry,
        inputs.dataset.rate_hz,
        shapes,
    )
    key = _key(params, path, inputs.dataset.rate_hz, device)
    evaluators = _evaluators(inputs) if workers.is_main else None
    save = partial(_save, inputs, trainer, config)
    store = StateStore(state_root("train"), key)
    if not workers.is_main:
        learning = TrainingLoop(trainer, inputs.train, evaluators, out, save, store)
        learning.resume()
        learning.run(None, lambda progress: None)
        return
    write_json(out / "config.json", {**config, "train": params.train.model_dump(mode="json")})
    summarise = partial(_write_metrics, out, inputs)
    with store, TrainingLog(out) as log:
        if not store.owned:
            console.print(
                f"Another process runs the same training, so no state is kept: {store.folder}"
            )
        learning = TrainingLoop(trainer, inputs.train, evaluators, out, save, store)
        try:
            learning.resume()
            learning.run(log, summarise)
            save(out / "final_model.pt")
            summarise(learning.progress)
        except OSError as error:
            raise OutputError(
                f"{out}: cannot be written ({error}); the checkpoints there are whole. Free some "
                "space and run the same command again: it goes on from the last saved state"
            ) from error
        store.remove()


def _trainer(
    inputs: Inputs, steps: int, workers: Workers
) -> tuple[Trainer, CollisionGeometry | None]:
    """The trainer, and the collision shapes that a checkpoint carries."""
    params, geometry = inputs.params, inputs.model.geometry
    limits = shapes = contact = None
    if geometry is not None:
        limits, shapes = RobotModel.from_params(params.robot).limits, _collision(params)
        if shapes is not None and params.train.noise_clearance_m is not None:
            contact = ContactCheck(inputs.dataset.layout, geometry, shapes)
            contact = contact.to(inputs.train.device)
    generator = inputs.generators[0]
    trainer = Trainer(inputs.model, params.train, steps, generator, limits, workers, contact)
    return trainer, shapes


def _collision(params: Params) -> CollisionGeometry | None:
    """Shapes that the guard of the runtime checks chunks with."""
    try:
        return collision_geometry(params.robot, params.task)
    except ModelError as error:
        console.print(f"No collision shapes, so the policy's chunks will not be checked: {error}")
        return None


def _evaluators(inputs: Inputs) -> Evaluators:
    validation = Validation(inputs.val, inputs.model, inputs.generators[1])
    device = inputs.train.device
    if inputs.params.train.rollout_every == 0:
        return Evaluators(validation.loss, None)
    try:
        rollouts = RolloutValidation.from_dataset(inputs.dataset, inputs.params)
    except RolloutValidationError as error:
        console.print(
            f"No closed loop during training, the validation loss chooses: {inputs.dataset.path}: "
            f"{error}"
        )
        return Evaluators(validation.loss, None)

    def roll_out(model: PolicyModel) -> Score:
        @torch.inference_mode()
        def predict(obs: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float64]:
            batch = (torch.from_numpy(array).to(device) for array in (obs, noise))
            return np.asarray(model(*batch).cpu().numpy(), dtype=np.float64)

        return rollouts.score(predict)

    return Evaluators(validation.loss, roll_out)


def _save(inputs: Inputs, trainer: Trainer, config: dict[str, Any], path: Path) -> None:
    """Write a checkpoint of the current weights."""
    every = np.linspace(0, len(inputs.val) - 1, min(NUM_EXAMPLES, len(inputs.val)))
    rows = torch.from_numpy(every.astype(np.int64)).to(inputs.val.device)
    examples = inputs.val.batch(rows)[0].cpu()
    weights, averaged = (
        {key: value.cpu().clone() for key, value in module.state_dict().items()}
        for module in (trainer.model, trainer.ema)
    )
    layout = inputs.dataset.layout
    save_checkpoint(path, Checkpoint(weights, averaged, config, inputs.stats, layout, examples))


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


def _key(params: Params, data: Path, rate_hz: float | None, device: torch.device) -> str:
    """Name of the saved state; includes the kind of device, since kinds differ in the last bits."""
    sections = params.model_dump(
        mode="json",
        include={"robot", "task", "dataset", "policy", "train"},
        exclude={"train": NOT_DECISIVE},
    )
    generic = params.dataset.layout == "generic"
    files = [] if generic else [params.robot.urdf, params.robot.srdf]
    if params.train.init_from is not None:
        files.append(params.train.init_from)
    hashes = [sha256_file(file) for file in files]
    return state_key(sections, hashes, folder_hash(data), rate_hz, device.type)


def _prepare(out: Path) -> None:
    """Make the folder and remove what an earlier training left there, and only that."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, expected a folder to write to; name another --out")
    out.mkdir(parents=True, exist_ok=True)
    for path in (*(out / name for name in OUTPUTS), *out.glob("checkpoint_epoch_*.pt")):
        path.unlink(missing_ok=True)
    for name in ("tensorboard", "dvclive"):
        shutil.rmtree(out / name, ignore_errors=True)
