"""Run a policy in Python: load a checkpoint, predict actions from observations.

Shapes: B observations, T history steps, S state numbers, H horizon, A action numbers.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.obstacles import COLUMNS
from pipeline.policy.checkpoint import Checkpoint, load_checkpoint
from pipeline.policy.model import PolicyModel
from pipeline.policy.observation import (
    Obstacles,
    check_noise,
    check_observation,
    observations,
    obstacle_slots,
)

logger = logging.getLogger(__name__)


class PolicyError(PipelineError):
    """The policy is used before it is loaded, or for other dimensions than it was trained for."""


class DiffusionPolicy:
    """A trained policy that turns two observations into a chunk of joint positions.

    Example:
        policy = DiffusionPolicy(state_dim=25, action_dim=6, horizon=16, n_obs_steps=2)
        policy.load("artifacts/train/best_model.pt")
        action = policy.predict(obs)  # (2, 25) → (1, 16, 6), rad; action[0, 0] is commanded next
    """

    def __init__(
        self,
        state_dim: int = 25,
        action_dim: int = 6,
        horizon: int = 16,
        n_obs_steps: int = 2,
        device: str | torch.device = "cuda",
    ) -> None:
        """Fix the caller's dimensions; `load` refuses a checkpoint with others.

        Args:
            state_dim: numbers of an observation, S.
            action_dim: numbers of an action, A.
            horizon: steps of a chunk, H.
            n_obs_steps: observations that the policy sees, T.
            device: where it runs; "auto" and "cuda" take a GPU, or the CPU (with a logged warning
                for "cuda") where there is none.
        """
        self.state_dim, self.action_dim = state_dim, action_dim
        self.horizon, self.n_obs_steps = horizon, n_obs_steps
        self.device = choose_device(str(device))
        self._checkpoint: Checkpoint | None = None
        self._model: PolicyModel | None = None

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str = "auto") -> DiffusionPolicy:
        """Load a policy with the dimensions of its checkpoint.

        Args:
            path: checkpoint of stage train.
            device: see the constructor.

        Raises:
            CheckpointError: the file is no checkpoint of this pipeline.
        """
        config = load_checkpoint(Path(path)).config
        policy = cls(
            config["state_dim"],
            config["action_dim"],
            config["horizon"],
            config["n_obs_steps"],
            device,
        )
        policy.load(path)
        return policy

    def load(self, path: str | Path, layout: Layout | None = None) -> None:
        """Load the averaged weights of a checkpoint.

        Args:
            path: for instance best_model.pt.
            layout: the layout that observations will have, where the caller knows it.

        Raises:
            CheckpointError: the file is missing or no checkpoint of this pipeline.
            LayoutError: the checkpoint was trained for another layout.
            PolicyError: the checkpoint was trained for other dimensions; they are named.
        """
        checkpoint = load_checkpoint(Path(path))
        for name in ("state_dim", "action_dim", "horizon", "n_obs_steps"):
            ours, theirs = getattr(self, name), checkpoint.config[name]
            if ours != theirs:
                raise PolicyError(
                    f"{path}: was trained with {name}={theirs}, but the policy was made with "
                    f"{name}={ours}; make it with DiffusionPolicy({name}={theirs}, …)"
                )
        if layout is not None:
            checkpoint.layout.require(layout, str(path), "the observations")
        self._checkpoint, self._model = checkpoint, checkpoint.build().to(self.device)

    @property
    def checkpoint(self) -> Checkpoint:
        """The loaded checkpoint: config, layout, stats.

        Raises:
            PolicyError: nothing is loaded.
        """
        if self._checkpoint is None:
            raise PolicyError("no weights: call policy.load('best_model.pt') first")
        return self._checkpoint

    @property
    def layout(self) -> Layout:
        """The meaning of observations and actions.

        Raises:
            PolicyError: nothing is loaded.
        """
        return self.checkpoint.layout

    @torch.inference_mode()
    def predict(
        self,
        obs: Tensor | NDArray[np.floating],
        noise: Tensor | NDArray[np.floating] | None = None,
        generator: torch.Generator | None = None,
        obstacles: Obstacles | None = None,
    ) -> Tensor:
        """Predict a chunk of actions.

        Float32 tensors on a GPU are checked there and do not pass through the host (never run on a
        GPU).

        Args:
            obs: raw observations, shape (T, S) or (B, T, S), oldest step first. Where the policy
                sees obstacles, 12 numbers for each slot may follow the state.
            noise: what the chunk starts from, standard normal, shape (B, H, A); drawn if None.
            generator: draws the noise; None takes torch's own, so the chunk differs each time.
            obstacles: around the arm of every observation, in the form that
                `pipeline.obstacles.parse` takes, or of each, shape (B, M, 12); None for none, or
                where `obs` includes them.

        Returns:
            Absolute joint positions, rad, shape (B, H, A), on the policy's device; row 0 is the
            next command.

        Raises:
            PolicyError: nothing is loaded.
            ObservationError: shapes do not fit, or a number is not finite.
            ObstacleError: an obstacle is malformed, or there are more than the policy can see.
        """
        layout = self.layout
        slots = obstacle_slots(self.checkpoint.config)
        checked = self._on_device(obs, slots) if obstacles is None else None
        if checked is None:
            seen = observations(_numpy(obs), layout, slots, obstacles)
            on_host = check_observation(seen, layout, self.n_obs_steps, slots)
            checked = torch.from_numpy(on_host).to(self.device)
        shape = (len(checked), self.horizon, self.action_dim)
        if noise is None:
            source = self.device if generator is None else generator.device
            start = torch.randn(shape, generator=generator, device=source).to(self.device)
        elif is_usable(noise, shape):
            start = noise.to(self.device)
        else:
            start = torch.from_numpy(check_noise(_numpy(noise), shape)).to(self.device)
        if self._model is None:
            raise PolicyError("no weights: call policy.load('best_model.pt') first")
        action: Tensor = self._model(checked, start)
        return action

    def _on_device(self, obs: Tensor | NDArray[np.floating], slots: int) -> Tensor | None:
        """Observations that already lie on a GPU and are right; None where the host must look."""
        steps = (self.n_obs_steps, self.layout.state_dim + slots * COLUMNS)
        if not isinstance(obs, Tensor) or obs.ndim not in (2, 3) or not obs.numel():
            return None
        batch = obs if obs.ndim == 3 else obs[None]
        if not is_usable(batch, (len(batch), *steps)):
            return None
        if self.layout.has("ee_pose"):
            part = self.layout.field("ee_pose").slice
            quaternion = batch[..., part][..., 3:]
            if not (quaternion.abs().amax(dim=-1) > 1e-3).all():
                return None
        return batch.to(self.device)


def choose_device(name: str) -> torch.device:
    """The device that a name means on this machine.

    Args:
        name: auto, cpu, cuda or cuda:1.

    Returns:
        A GPU for auto and cuda where one is there, else the CPU; for cuda with a logged warning.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("device %s was asked for, but torch sees no GPU: using the CPU", name)
        return torch.device("cpu")
    return torch.device(name)


def is_usable(value: object, shape: tuple[int, ...]) -> TypeGuard[Tensor]:
    """Whether a value is a finite float32 tensor of a shape on a GPU, which needs no way round.

    Args:
        value: what a caller passed.
        shape: that it must have.
    """
    return (
        isinstance(value, Tensor)
        and _on_gpu(value)
        and value.dtype == torch.float32
        and tuple(value.shape) == shape
        and bool(value.isfinite().all())
    )


def _on_gpu(value: Tensor) -> bool:
    return value.device.type != "cpu"


def _numpy(value: Tensor | NDArray[np.floating]) -> NDArray[np.floating]:
    if isinstance(value, Tensor):
        array: NDArray[np.floating] = value.detach().cpu().numpy()
        return array
    return value
