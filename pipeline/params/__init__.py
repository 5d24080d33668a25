"""Typed, frozen, strict mirror of params.yaml, and the only reader of it.

No parameter has a default here: a number that is not in the file is an error that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import PipelineError
from pipeline.params.delivery import BackendName, ExportParams, ReleaseParams
from pipeline.params.task import (
    Box,
    Count,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    RobotParams,
    Section,
    StateField,
    TaskParams,
)

__all__ = [
    "CollectParams", "DatasetParams", "EvaluateParams", "ExportParams", "IngestParams", "Params",
    "ParamsError", "PolicyParams", "ReleaseParams", "RobotParams", "StateField", "TaskParams",
    "TrainParams", "load_params",
]  # fmt: skip


class ParamsError(PipelineError):
    """params.yaml is missing, unreadable, or holds a value that does not fit."""


class CollectParams(Section):
    """Planning, executing and recording of demonstrations."""

    episodes: PositiveInt
    seed: Count
    ik: Literal["nearest", "random"]
    ik_seeds: PositiveInt
    clearance_m: NonNegative
    object_clearance_m: NonNegative
    collision_resolution: Annotated[float, Field(gt=0, le=1)]
    planning_checks: PositiveInt
    planning_attempts: PositiveInt
    plan_dt_s: Positive
    joint_state_hz: Positive
    physics_steps: PositiveInt
    still_joints: tuple[str, ...]
    hold_s: NonNegative
    storage: Literal["mcap", "sqlite3"]
    workers: Count


class IngestParams(Section):
    """Which recordings become episodes, and what is left out."""

    source: Path | tuple[Path, ...]
    msg_path: Path | None
    allow_bad_files: bool
    salvage: bool
    episodes_from: Literal["auto", "plans", "tracking", "joints"]
    discover_topics: bool
    plan_topic: str
    joint_topic: str
    object_topic: str
    tracking_topic: str | None
    mark_topic: str
    gap_s: Positive
    joint_prefix: str | None
    object_frame: str | None
    object_pose: tuple[float, float, float, float, float, float, float] | None
    frame_rate_hz: Positive | None
    state: Literal["planned", "measured"]
    object_max_age_s: Positive
    object_frames: tuple[str, ...]
    quaternion_tolerance: Positive
    min_points: Annotated[int, Field(ge=2)]
    min_motion_rad: NonNegative
    limit_tolerance_rad: NonNegative
    wrap_jump_rad: Positive
    segment_gap_rad: NonNegative
    segment_gaps: Literal["reject", "split"]
    trim_idle_rad: NonNegative
    velocity_tolerance_rad_s: Positive
    settle_s: NonNegative
    execution_tolerance_rad: Positive
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)]
    workers: Count
    engine: Literal["process", "ray"]
    cache_gb: NonNegative
    mode_neighbours: PositiveInt
    mode_gap_rad: Positive


class DatasetParams(Section):
    """Resampling, labels and splits of the training data."""

    rate_hz: Positive
    labels: Literal["next_step", "same_step"]
    hold_steps: Count
    val_fraction: Fraction
    test_fraction: Fraction
    zarr_format: Literal[2, 3]
    chunk_rows: PositiveInt

    @model_validator(mode="after")
    def _something_left_to_train_on(self) -> DatasetParams:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction + test_fraction must leave a share for training")
        return self


class PolicyParams(Section):
    """Network, what it sees, what it predicts, and its diffusion process."""

    network: Literal["mlp", "unet", "transformer"]
    horizon: PositiveInt
    n_obs_steps: PositiveInt
    inputs: tuple[StateField, ...]
    object_in_tcp: bool
    offset_scale_m: Positive
    tilt_scale: Positive
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
    sampler: Literal["ddim", "ddpm"]
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
        return self


class TrainParams(Section):
    """Optimisation."""

    seed: Count
    num_epochs: PositiveInt
    batch_size: PositiveInt | Literal["auto"]
    noise_draws: PositiveInt
    noise_probability: Annotated[float, Field(ge=0, le=1)]
    noise_min_rad: Positive
    noise_max_rad: Positive
    noise_velocity_rad_s: NonNegative
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
    compile: Literal["auto", "on", "off"]
    data_limit_gb: Positive

    @model_validator(mode="after")
    def _there_is_something_to_select_by(self) -> TrainParams:
        if self.select == "rollout" and self.rollout_every == 0:
            raise ValueError(
                "select rollout needs rollout_every of 1 at least; 0 rolls nothing out"
            )
        return self

    @property
    def batch_windows(self) -> int:
        """The batch as a number.

        Raises:
            ParamsError: it still is auto: a device chooses.
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


class ExecutionParams(Section):
    """What is sent of the chunks: shared by evaluation and robot."""

    mode: Literal["chunk", "blend", "ensemble"]
    execute_steps: PositiveInt
    blend_steps: Count
    ensemble_decay: float
    noise_scale: Annotated[float, Field(ge=0, le=1)]
    object_window: PositiveInt
    object_jump_m: Positive
    object_jump_deg: Annotated[float, Field(gt=0, le=180)]
    guard: Literal["off", "check", "repair"]
    guard_margin_m: Positive
    guard_least_m: Positive
    guard_turns: PositiveInt
    guard_turn_rad: Positive
    guard_smooth_s: Positive
    guard_samples: Count
    guard_noise_scale: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _guard_keeps_more_than_the_least(self) -> ExecutionParams:
        if self.guard_least_m > self.guard_margin_m:
            raise ValueError(
                f"guard_least_m {self.guard_least_m} exceeds guard_margin_m {self.guard_margin_m}"
            )
        return self


class FailureParams(Section):
    """How failed rollouts are classed."""

    neighbours: PositiveInt
    way_share: Annotated[float, Field(gt=0, le=1)]
    path_rad: Positive
    limit_margin_rad: NonNegative


class EvaluateParams(Section):
    """Open- and closed-loop evaluation."""

    pens: PositiveInt
    seed: PositiveInt
    rollout_steps: PositiveInt
    physics_steps: PositiveInt
    failures: FailureParams
    films: Count
    grasp_pens: Count
    grasp_lift_m: Positive
    grasp_hold_s: Positive
    grasp_rise_m: Positive
    grasp_slip_m: Positive
    open_loop_windows: Count
    backends: Annotated[tuple[BackendName, ...], Field(min_length=1)]
    robustness: Literal["off", "short", "full"]
    robustness_pens: PositiveInt


class Params(Section):
    """The whole of params.yaml."""

    robot: RobotParams
    task: TaskParams
    collect: CollectParams
    ingest: IngestParams
    dataset: DatasetParams
    policy: PolicyParams
    train: TrainParams
    execution: ExecutionParams
    evaluate: EvaluateParams
    export: ExportParams
    release: ReleaseParams

    def override(self, section: str, **values: Any) -> Params:
        """A copy with some values of one section replaced (None leaves one alone), validated anew.

        Args:
            section: name of the section, for instance "train".
            values: new values by their key in that section.

        Raises:
            ParamsError: a value does not fit.
        """
        changed = {key: value for key, value in values.items() if value is not None}
        data = self.model_dump()
        data[section].update(changed)
        return _validate(data, Path(f"command line ({section})"))


def load_params(path: Path) -> Params:
    """Read and check params.yaml (YAML 1.2, so that `1e-05` is a number).

    Args:
        path: the file.

    Raises:
        ParamsError: the file is missing or no YAML, a key is missing or unknown, a value does not
            fit; the message names file, key, value and what was expected.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; expected params.yaml, or name one with --params")
    try:
        data = YAML(typ="safe", pure=True).load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        raise ParamsError(f"{path}: holds {type(data).__name__}, expected sections such as train:")
    return _validate(data, path)


def _validate(data: dict[str, Any], path: Path) -> Params:
    try:
        return Params.model_validate(data)
    except ValidationError as error:
        lines = [_describe(problem, data) for problem in error.errors()]
        raise ParamsError(f"{path}: " + "; ".join(lines)) from error


def _describe(problem: Any, data: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; known here: {', '.join(_siblings(problem['loc']))}"
    if problem["type"] == "missing":
        return f"{where}: missing; add it (params.yaml in the repository shows every key)"
    return f"{where}: {problem['msg']} (got {problem['input']!r})"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Params
    for part in location[:-1]:
        if part == "scenes":
            return sorted(Box.model_fields)  # a mapping of lists: two steps that name no field
        section = section.model_fields[part].annotation
    return sorted(section.model_fields)
