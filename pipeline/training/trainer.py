"""Take training steps, average the weights and compute the validation loss.

Shapes: B windows of a batch, D noise draws of each, T history steps, H horizon, S state numbers,
A action numbers, C numbers of a condition.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.kinematics import JointLimits
from pipeline.params import TrainParams
from pipeline.policy.model import PolicyModel
from pipeline.training.augmentation import Perturb, StatePerturbation, unperturbed
from pipeline.training.batches.streamed import StreamedWindows
from pipeline.training.batches.windows import Windows
from pipeline.training.contact import ContactCheck
from pipeline.training.distributed import SINGLE_PROCESS, Workers
from pipeline.training.precision import training_loss

VALIDATION_BATCH = 4096
"""Windows of one validation batch: bounds memory."""
BLOCK = 2048
"""Windows that are prepared together."""


@dataclass(frozen=True)
class Prepared:
    """Windows with features, encoded actions and noise, ready for the network."""

    condition: Tensor
    """Normalised features, shape (B, C)."""
    clean: Tensor
    """Encoded actions, shape (B, H, A)."""
    noise: Tensor
    """Standard normal, shape (D, B, H, A)."""
    steps: Tensor
    """Diffusion steps, integers from 0, shape (D, B)."""

    def __len__(self) -> int:
        """Number of windows, B."""
        return len(self.condition)

    def part(self, windows: slice) -> Prepared:
        """Some of the windows, nothing copied."""
        return Prepared(
            self.condition[windows],
            self.clean[windows],
            self.noise[:, windows],
            self.steps[:, windows],
        )


def learning_rate(step: int, num_steps: int, params: TrainParams) -> float:
    """Linear warm-up, then a cosine to zero.

    Args:
        step: from 0.
        num_steps: steps of the whole training.
        params: section train, for the peak and the length of the warm-up.
    """
    if step < params.warmup_steps:
        return params.lr * (step + 1) / params.warmup_steps
    share = (step - params.warmup_steps) / max(1, num_steps - params.warmup_steps)
    return params.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def averaging_rate(step: int, max_decay: float) -> float:
    """Share of the averaged weights that a step keeps; rises from 0.1, to forget initial noise.

    Args:
        step: from 0.
        max_decay: upper bound.
    """
    return min(max_decay, (1 + step) / (10 + step))


def seeded_generators(
    seed: int, device: torch.device
) -> tuple[torch.Generator, torch.Generator, torch.Generator]:
    """Independent generators of initial weights (on the CPU), training and validation.

    Args:
        seed: of section train.
        device: where batches and noise are drawn.
    """
    seeds = [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(3)]
    devices = (torch.device("cpu"), device, device)
    weights, training, validation = (
        torch.Generator(device).manual_seed(value)
        for device, value in zip(devices, seeds, strict=True)
    )
    return weights, training, validation


class Trainer:
    """Optimises a policy and keeps its averaged weights."""

    def __init__(
        self,
        model: PolicyModel,
        params: TrainParams,
        num_steps: int,
        generator: torch.Generator,
        limits: JointLimits | None,
        workers: Workers = SINGLE_PROCESS,
        contact: ContactCheck | None = None,
    ) -> None:
        """Prepare the optimiser and the averaged copy.

        Args:
            model: a policy with fitted ranges, on its device.
            params: section train.
            num_steps: steps of the whole training.
            generator: draws noise and diffusion steps, on the model's device; the same on every
                worker.
            limits: of the joints: no action is moved beyond them. None where there is no arm;
                states are then not perturbed.
            workers: the processes that share each batch.
            contact: computes clearances of perturbed states; None does not check them.
        """
        self.workers = workers
        self.model, self.params, self.num_steps = model, params, num_steps
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)
        self.generator = generator
        part = workers.part(params.batch_windows)
        rows = params.noise_draws * (part.stop - part.start)
        self._loss = training_loss(model, params.precision, params.compile, num_steps, rows)
        self.perturb: Perturb = unperturbed
        if limits is not None and model.geometry is not None:
            self.perturb = StatePerturbation(
                params, model.layout, model.geometry, model.params.horizon, limits,
                sees_velocity="joint_vel" in model.params.inputs, contact=contact,
            )  # fmt: skip
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=params.lr,
            betas=params.betas,
            weight_decay=params.weight_decay,
            fused=True,
        )
        self._weights: list[Tensor] = list(model.parameters())
        self._averaged: list[Tensor] = list(self.ema.parameters())

    @property
    def block_steps(self) -> int:
        """Steps whose windows are prepared together."""
        return max(1, BLOCK // self.params.batch_windows)

    @torch.no_grad()
    def prepare(self, obs: Tensor, action: Tensor) -> Prepared:
        """Perturb windows, derive their features, and draw noise and diffusion steps.

        None of it has a gradient, so the windows of many steps are prepared at once, which saves
        calls for small batches.

        Args:
            obs: raw observations, shape (B, T, S); perturbed in place.
            action: absolute joint positions, rad, shape (B, H, A).
        """
        obs, action = self.perturb(obs, action, self.generator)
        draws, device = self.params.noise_draws, obs.device
        noise = torch.randn((draws, *action.shape), generator=self.generator, device=device)
        steps = torch.randint(
            len(self.model.signal),
            (draws, len(obs)),
            generator=self.generator,
            device=device,
        )
        clean = self.model.codec.encode(action, self.model.current_joints(obs))
        return Prepared(self.model.condition(obs), clean, noise, steps)

    def step(self, step: int, batch: Prepared) -> Tensor:
        """One optimiser step; nothing here waits for the device.

        Args:
            step: from 0.
            batch: B windows.

        Returns:
            The loss before the step, a scalar on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.num_steps, self.params)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradient(batch)
        self.optimizer.step()
        decay = averaging_rate(step, self.params.ema_max_decay)
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged, self._weights, 1 - decay)
        return loss.detach()

    def _gradient(self, batch: Prepared) -> Tensor:
        """Compute loss and gradient of the whole batch, across all workers."""
        if self.workers.size == 1:
            return self._backward(batch, 1.0)
        part = self.workers.part(len(batch))
        if part.start == part.stop:  # a last batch of fewer windows than workers
            loss = torch.zeros((), device=batch.clean.device)
            for weight in self._weights:
                weight.grad = torch.zeros_like(weight)
        else:
            share = (part.stop - part.start) / len(batch)
            loss = self._backward(batch.part(part), share)
        return self.workers.sum_gradients(self._weights, loss.detach())

    def _backward(self, batch: Prepared, share: float) -> Tensor:
        rows = (batch.noise.flatten(0, 1), batch.steps.flatten())
        loss = self._loss(batch.condition, batch.clean, *rows) * share
        torch.autograd.backward(loss)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Everything that a step changes: weights, averages, optimiser, generator."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `state_dict`.

        Args:
            state: what it returned.
        """
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())

    @torch.no_grad()
    def is_finite(self) -> bool:
        """Whether every averaged weight is finite; waits for the device."""
        return bool(torch.stack([weight.isfinite().all() for weight in self._averaged]).all())

    def gradient_norm(self) -> Tensor:
        """Norm of the last step's gradient over all weights, a scalar on the device."""
        return torch.nn.utils.get_total_norm(
            [weight.grad for weight in self._weights if weight.grad is not None]
        )


class Validation:
    """The loss of averaged weights on held-out windows, with noise that never changes.

    Fixed noise makes losses of epochs, runs and machines comparable.
    """

    def __init__(
        self, windows: Windows | StreamedWindows, model: PolicyModel, generator: torch.Generator
    ) -> None:
        """Draw the noise.

        Args:
            windows: of the validation episodes.
            model: for its dimensions.
            generator: on the windows' device.
        """
        self.windows = windows
        device = windows.device
        shape = (len(windows), model.params.horizon, model.layout.action_dim)
        self.noise = torch.randn(shape, generator=generator, device=device)
        self.steps = torch.randint(len(model.signal), shape[:1], generator=generator, device=device)

    @torch.inference_mode()
    def loss(self, model: PolicyModel) -> float:
        """Mean loss over all windows.

        Args:
            model: the policy to validate.
        """
        total = torch.zeros((), device=self.noise.device)
        every = torch.arange(len(self.windows), device=self.noise.device)
        for rows in torch.split(every, VALIDATION_BATCH):
            obs, action = self.windows.batch(rows)
            total += model.loss(obs, action, self.noise[rows], self.steps[rows]) * len(rows)
        return float(total / len(self.windows))
