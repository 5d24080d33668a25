"""Sections `execution`, `evaluate`, `export` and `release` of params.yaml: the trained policy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, NonNegative, Positive, PositiveInt, Section, Share

BackendName = Literal["torch", "onnxruntime", "tensorrt-rtx", "tensorrt"]


class ExecutionParams(Section):
    """How chunks become commands, in the evaluation and on the robot."""

    mode: Literal["chunk", "blend", "ensemble"]
    execute_steps: PositiveInt
    blend_steps: Count
    ensemble_decay: float
    noise_scale: Share
    object_window: PositiveInt
    object_jump_m: Positive
    object_jump_deg: Annotated[float, Field(gt=0, le=180)]
    object_jump_observations: PositiveInt
    guard: Literal["off", "check", "repair"]
    guard_margin_m: Positive
    guard_least_m: Positive
    guard_turns: PositiveInt
    guard_turn_rad: Positive
    guard_smooth_s: Positive
    guard_samples: Count
    guard_noise_scale: Annotated[float, Field(gt=0, le=1)]
    rehearsals: Count
    fallback: Literal["none", "planner"]
    fallback_after_s: Positive

    @model_validator(mode="after")
    def _the_margin_is_at_least_the_least(self) -> ExecutionParams:
        if self.guard_least_m > self.guard_margin_m:
            raise ValueError(
                f"guard_least_m {self.guard_least_m} exceeds guard_margin_m {self.guard_margin_m}"
            )
        return self


class FailureParams(Section):
    """How failed rollouts are classified."""

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


class ExportParams(Section):
    """ONNX graph and TensorRT engines."""

    opset: Annotated[int, Field(ge=18)]
    unrolled: bool | Literal["auto"]
    precision: Literal["float32", "float16"]
    targets: tuple[Annotated[str, Field(pattern=r"^\d+\.\d$")], ...]
    batch: tuple[PositiveInt, PositiveInt, PositiveInt]
    version_compatible: bool
    hardware_compatible: bool
    parity_rad: Positive
    half_parity_rad: Positive
    engine_parity_rad: Positive
    latency_calls: PositiveInt

    @model_validator(mode="after")
    def _batches_rise(self) -> ExportParams:
        if not self.batch[0] <= self.batch[1] <= self.batch[2]:
            raise ValueError(f"batch {list(self.batch)} must rise: smallest, usual, largest")
        return self


class ReleaseParams(Section):
    """What a policy must achieve before it gets a version."""

    min_success: Share
    min_collision_free: Share
    min_pens: PositiveInt
