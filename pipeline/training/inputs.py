"""Prepare a training on its device: data, model, batch, threads and ranges."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.dataset.store import Dataset
from pipeline.dataset.windows import window_index
from pipeline.errors import PipelineError
from pipeline.kinematics import Geometry, vector
from pipeline.obstacles import ObstacleInput, pad
from pipeline.params import Params
from pipeline.policy.model import FIT_CHUNK, PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.covering import body_points, collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.run import console, state_root
from pipeline.training.batches.streamed import StreamedWindows, resident_bytes
from pipeline.training.batches.windows import Windows
from pipeline.training.distributed import Workers
from pipeline.training.finetune import exceeding, load_initial
from pipeline.training.memory import BatchMemory, choose_batch, free_bytes, try_batch
from pipeline.training.threads import find_threads, remembered_threads, usable_cores
from pipeline.training.trainer import Trainer, seeded_generators


class TrainError(PipelineError):
    """Training cannot start."""


@dataclass(frozen=True)
class Inputs:
    """Data and model of a training, on its device."""

    params: Params
    dataset: Dataset
    train: Windows | StreamedWindows
    val: Windows | StreamedWindows
    model: PolicyModel
    stats: dict[str, Any]
    """Statistics that a checkpoint carries."""
    generators: tuple[torch.Generator, torch.Generator]
    """Of training and of validation."""


def with_rate(dataset: Dataset, rate_hz: float | None, workers: Workers) -> Dataset:
    """Add the control rate to the data set, or warn that it has none.

    Args:
        dataset: of the zarr.
        rate_hz: from the command line; None if it was not given.
        workers: the main process prints.

    Raises:
        TrainError: the rate is not positive, or the data set has another one.
    """
    if rate_hz is not None and not rate_hz > 0:
        raise TrainError(f"--rate-hz is {rate_hz}: expected a positive number of steps a second")
    if None not in (rate_hz, dataset.rate_hz) and rate_hz != dataset.rate_hz:
        raise TrainError(
            f"{dataset.path}: its attribute rate_hz is {dataset.rate_hz}, but --rate-hz is "
            f"{rate_hz}; expected the same: leave --rate-hz out, or correct the attribute"
        )
    if dataset.rate_hz is None and rate_hz is None and workers.is_main:
        console.print(
            f"Warning: {dataset.path} has no attribute rate_hz, so its steps have no duration. "
            + (
                "The policy then counts in steps"
                if dataset.layout.is_generic
                else "Training selects by the validation loss, and evaluate and the robot will "
                "refuse the checkpoint"
            )
            + ". Name the control rate in Hz with --rate-hz, for instance --rate-hz 30"
        )
    return replace(dataset, rate_hz=dataset.rate_hz or rate_hz)


def make_inputs(params: Params, dataset: Dataset, device: torch.device) -> Inputs:
    """Put windows and model on the device.

    Args:
        params: all sections but those that only later stages read.
        dataset: of the zarr.
        device: where training runs.

    Raises:
        TrainError: no training or validation episodes.
        PipelineError: the model, or the checkpoint to start from, does not fit the data set.
    """
    geometry = None if dataset.layout.is_generic else _geometry(dataset, params)
    seen = None if geometry is None else geometry.obstacles
    slots = 0 if seen is None else seen.slots
    train, val = (_windows(dataset, split, params, device, slots) for split in ("train", "val"))
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


def choose_machine(inputs: Inputs, workers: Workers) -> Inputs:
    """Check or choose the batch by the device's memory, and the number of CPU threads.

    Workers may have GPUs with different memory free; all take the smallest batch.

    Args:
        inputs: with the batch and threads of section train.
        workers: the main process chooses the threads for all.

    Raises:
        MemoryLimitError: the batch does not fit the device.
    """
    train, model, device = inputs.params.train, inputs.model, inputs.train.device
    first = inputs.train.batch(torch.zeros(1, dtype=torch.int64, device=device))
    memory = BatchMemory(model, *first, train.noise_draws)
    batch = choose_batch(train.batch_size, memory, free_bytes(device), device)
    if train.batch_size == "auto" and device.type == "cuda":
        batch = try_batch(model, *first, train.noise_draws, batch)
    batch = workers.least(batch)
    if workers.is_main and train.batch_size == "auto":
        console.print(f"Batches of {batch} windows (train.batch_size is auto)")
    threads = train.threads or workers.broadcast(
        _threads(inputs, batch) if workers.is_main else None
    )
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


def fit_ranges(inputs: Inputs, trainer: Trainer) -> None:
    """Measure the ranges, or warn where those of the initial checkpoint are too small.

    Args:
        inputs: of this training.
        trainer: perturbs the windows; its averaged weights get the ranges.
    """
    model, train, params = inputs.model, inputs.train, inputs.params.train
    old = params.init_from is not None and params.init_stats == "old"
    fitted = copy.deepcopy(model) if old else model

    def perturb(obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return trainer.perturb(obs, action, trainer.generator)

    fitted.fit(train.batches(FIT_CHUNK), perturb)
    if old:
        factor = exceeding(model, fitted)
        if factor > 1:
            console.print(
                f"Actions of {inputs.dataset.path} reach {factor:.2f} times as far as those that "
                f"{params.init_from} was trained on, and what lies beyond is cut off; "
                "train.init_stats: new takes the new range"
            )
    trainer.ema.load_state_dict(model.state_dict())


def _windows(
    dataset: Dataset, split: str, params: Params, device: torch.device, slots: int
) -> Windows | StreamedWindows:
    episodes = dataset.episodes(split)
    if not len(episodes):
        raise TrainError(
            f"{dataset.path}: none of its {dataset.num_episodes} episodes is in the split {split}; "
            f"change dataset.val_fraction and test_fraction, or add episodes"
        )
    lengths = (params.policy.n_obs_steps, params.policy.horizon)
    limit = int(params.train.data_limit_gb * 1e9)
    around: Tensor | None = None
    if slots:
        rows = np.stack([pad(dataset.obstacles(int(e)), slots).ravel() for e in episodes])
        around = torch.from_numpy(rows.astype(np.float32)).to(device)
    if resident_bytes(dataset, episodes, lengths) > limit:
        parts = (dataset.state, dataset.action)
        return StreamedWindows(
            parts, dataset.episode_ends, episodes, lengths, limit, device, around
        )
    index = window_index(dataset.episode_ends, episodes, *lengths)
    arrays = (np.asarray(dataset.state[:]), np.asarray(dataset.action[:]), *index)
    windows = Windows(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays))
    if around is None:
        return windows
    lengths_of = np.diff(dataset.episode_ends, prepend=0)[episodes]
    episode = torch.from_numpy(np.repeat(np.arange(len(episodes)), lengths_of)).to(device)
    return replace(windows, obstacles=around, episode=episode)


def _geometry(dataset: Dataset, params: Params) -> Geometry:
    geometry = policy_geometry(RobotModel.from_params(params.robot), params.task)
    if dataset.max_obstacles and params.policy.max_obstacles:
        geometry = replace(geometry, obstacles=_obstacle_input(dataset, params))
    return geometry


def _obstacle_input(dataset: Dataset, params: Params) -> ObstacleInput:
    """Points on the arm, and the region of the training episodes' obstacles."""
    shapes = collision_geometry(params.robot, params.task).shapes
    rows = np.concatenate([dataset.obstacles(int(e)) for e in dataset.episodes("train")])
    reach = np.linalg.norm(rows[:, 7:10], axis=1, keepdims=True) + rows[:, 10:].sum(1)[:, None]
    low, high = (rows[:, :3] - reach).min(axis=0), (rows[:, :3] + reach).max(axis=0)
    return ObstacleInput(
        params.policy.max_obstacles, body_points(shapes), vector(low), vector(high)
    )
