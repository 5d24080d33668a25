"""Sections `collect`, `ingest` and `dataset` of params.yaml: from plans to training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    Section,
    Share,
)


class CollectParams(Section):
    """Planning, executing and recording of demonstrations."""

    episodes: PositiveInt
    seed: Count
    ik: Literal["nearest", "random"]
    ik_seeds: PositiveInt
    clearance_m: NonNegative
    optimise_clearance_m: NonNegative | None
    object_clearance_m: NonNegative
    collision_resolution: Annotated[float, Field(gt=0, le=1)]
    planning_checks: PositiveInt
    planning_attempts: PositiveInt
    straight_share: Share
    plan_dt_s: Positive
    joint_state_hz: Positive
    physics_steps: PositiveInt
    still_joints: tuple[str, ...]
    hold_s: NonNegative
    storage: Literal["mcap", "sqlite3"]
    workers: Count
    engine: Literal["process", "ray"]


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
    obstacles: bool
    scene_topics: tuple[str, ...]
    obstacle_ignore: tuple[str, ...] | None
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
    execution_delay_s: NonNegative
    max_reject_fraction: Share
    workers: Count
    engine: Literal["process", "ray"]
    cache_gb: NonNegative
    mode_neighbours: PositiveInt
    mode_gap_rad: Positive


class DatasetParams(Section):
    """Layout, resampling, labels and splits of the training data."""

    layout: Literal["robot", "generic"]
    state_arrays: Annotated[tuple[str, ...], Field(min_length=1)]
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
