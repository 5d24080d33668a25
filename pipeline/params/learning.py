"""Sections `policy` and `train` of params.yaml: what is learned, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import (
    Count,
    Fraction,
    NonNegative,
    ParamsError,
    Positive,
    PositiveInt,
    Section,
    Share,
)
from pipeline.params.task import StateField


class PolicyParams(Section):
    """Network, what it sees, what it predicts, and its diffusion process."""

    network: Literal["mlp", "unet", "transformer"]
    horizon: PositiveInt
    n_obs_steps: PositiveInt
    inputs: tuple[StateField, ...]
    object_in_tcp: bool
    offset_scale_m: Positive
    tilt_scale: Positive
    max_obstacles: Count
    actions: Literal["relative", "absolute"]
    action_scale_rad: Positive
    mlp_width: PositiveInt
    mlp_blocks: PositiveInt
    unet_channels: tuple[PositiveInt, ...]
    unet_kernel: PositiveInt
    unet_groups: PositiveInt
    transformer_width: PositiveInt
    transformer_layers: PositiveInt
    transformer_heads: PositiveInt
    step_embedding: Annotated[int, Field(ge=4, multiple_of=2)]
    sampler: Literal["ddim", "mip"]
    num_train_steps: Annotated[int, Field(ge=2)]
    prediction: Literal["sample", "epsilon", "velocity"]
    clip: Positive
    num_inference_steps: PositiveInt

    @model_validator(mode="after")
    def _steps_fit(self) -> PolicyParams:
        if self.num_inference_steps > self.num_train_steps:
            raise ValueError(
                f"num_inference_steps {self.num_inference_steps} exceeds "
                f"num_train_steps {self.num_train_steps}"
            )
        if self.sampler == "mip" and (self.prediction, self.num_inference_steps) != ("sample", 2):
            raise ValueError(
                "sampler mip takes two passes that predict the clean chunk: expected prediction "
                f"sample and num_inference_steps 2, not {self.prediction} and "
                f"{self.num_inference_steps}"
            )
        return self


class TrainParams(Section):
    """Optimisation."""

    seed: Count
    num_epochs: PositiveInt
    batch_size: PositiveInt | Literal["auto"]
    noise_draws: PositiveInt
    noise_probability: Share
    noise_min_rad: Positive
    noise_max_rad: Positive
    noise_velocity_rad_s: NonNegative
    noise_clearance_m: float | None
    noise_decay_steps: Positive
    lr: Positive
    betas: tuple[Fraction, Fraction]
    weight_decay: NonNegative
    warmup_steps: Count
    ema_max_decay: Fraction
    save_freq: PositiveInt
    init_from: Path | None
    init_stats: Literal["old", "new"]
    select: Literal["rollout", "val_loss"]
    rollout_every: Count
    rollout_pens: PositiveInt
    rollout_seed: Count
    rollout_least_steps: PositiveInt
    rollout_physics_steps: PositiveInt
    state_every_s: NonNegative
    launcher: Literal["none", "torchrun"]
    devices: Count
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    threads: Count
    precision: Literal["auto", "fp32", "bf16"]
    compile: Literal["auto", "on", "graphs", "off"]
    data_limit_gb: Positive

    @model_validator(mode="after")
    def _there_is_something_to_select_by(self) -> TrainParams:
        if self.select == "rollout" and self.rollout_every == 0:
            raise ValueError("select rollout needs rollout_every 1 or more; 0 runs no closed loop")
        return self

    @property
    def batch_windows(self) -> int:
        """The number of windows in a batch.

        Raises:
            ParamsError: it is still auto, which is only resolved on a device.
        """
        if self.batch_size == "auto":
            raise ParamsError("train.batch_size is auto: expected a number here")
        return self.batch_size

    @model_validator(mode="after")
    def _noise_is_a_range(self) -> TrainParams:
        if self.noise_min_rad > self.noise_max_rad:
            raise ValueError(
                f"noise_min_rad {self.noise_min_rad} exceeds noise_max_rad {self.noise_max_rad}"
            )
        return self
