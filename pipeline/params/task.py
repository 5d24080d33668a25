"""Sections `robot` and `task` of params.yaml: the arm, its object and its surroundings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, NonNegative, Positive, PositiveInt, Section, Vector3

StateField = Literal["joint_pos", "joint_vel", "ee_pose", "object_pos", "object_axis"]


class ServoParams(Section):
    """The simulated position servo, with one number per joint."""

    kp: tuple[Positive, ...]
    damping_ratio: Positive
    armature_kg_m2: tuple[NonNegative, ...]


class GripperParams(Section):
    """The fingers, for simulations in which they close."""

    fingers: tuple[str, ...]
    closing: tuple[Vector3, ...]
    stroke_m: Positive
    force_n: Positive
    friction: Positive

    @model_validator(mode="after")
    def _one_direction_a_finger(self) -> GripperParams:
        if len(self.closing) != len(self.fingers):
            raise ValueError(
                f"closing has {len(self.closing)} directions for {len(self.fingers)} fingers"
            )
        if any(not any(direction) for direction in self.closing):
            raise ValueError("closing holds a direction without length")
        return self


class RobotParams(Section):
    """The arm: its description files, joint order, frames and limits."""

    urdf: Path
    srdf: Path
    base_link: str
    joints: tuple[str, ...]
    tip_link: str
    tcp_offset_m: float
    home_rad: tuple[float, ...]
    acceleration_limits_rad_s2: tuple[Positive, ...]
    servo: ServoParams
    gripper: GripperParams

    @model_validator(mode="after")
    def _one_number_a_joint(self) -> RobotParams:
        sizes = {
            "home_rad": len(self.home_rad),
            "acceleration_limits_rad_s2": len(self.acceleration_limits_rad_s2),
            "servo.kp": len(self.servo.kp),
            "servo.armature_kg_m2": len(self.servo.armature_kg_m2),
        }
        for name, size in sizes.items():
            if size != len(self.joints):
                raise ValueError(f"{name} has {size} numbers for {len(self.joints)} joints")
        if len(set(self.joints)) != len(self.joints):
            raise ValueError(f"joints are named twice: {list(self.joints)}")
        return self


class Box(Section):
    """An obstacle, its edges along the axes of the base frame."""

    centre_m: Vector3
    size_m: tuple[Positive, Positive, Positive]


class ArrangementParams(Section):
    """Boxes that stand elsewhere in every episode; number, centre, size and yaw are uniform."""

    number: tuple[Count, Count]
    size_min_m: tuple[Positive, Positive, Positive]
    size_max_m: tuple[Positive, Positive, Positive]
    region_min_m: Vector3
    region_max_m: Vector3
    object_gap_m: NonNegative

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> ArrangementParams:
        for low, high in (
            (self.size_min_m, self.size_max_m),
            (self.region_min_m, self.region_max_m),
        ):
            if any(a > b for a, b in zip(low, high, strict=True)):
                raise ValueError(f"arrangement: {list(low)} exceeds {list(high)}")
        if self.number[0] > self.number[1]:
            raise ValueError(f"arrangement.number is {list(self.number)}: expected [least, most]")
        return self


class TaskParams(Section):
    """The object, where it may lie, the obstacles around it, and what counts as success."""

    object: str
    state_fields: tuple[StateField, ...]
    object_length_m: Positive
    object_radius_m: Positive
    cap_min_m: Vector3
    cap_max_m: Vector3
    tilt_max_deg: Annotated[float, Field(ge=0, le=180)]
    table_height_m: float
    object_mass_kg: Positive
    scene: str
    scenes: dict[str, tuple[Box, ...]]
    arrangement: ArrangementParams
    team_cap_m: Positive
    team_axis_m: Positive
    strict_m: Positive
    strict_deg: Positive
    tight_m: Positive
    tight_deg: Positive
    settle_steps: PositiveInt

    @model_validator(mode="after")
    def _box_is_a_box(self) -> TaskParams:
        if any(low > high for low, high in zip(self.cap_min_m, self.cap_max_m, strict=True)):
            raise ValueError(f"cap_min_m {self.cap_min_m} exceeds cap_max_m {self.cap_max_m}")
        return self

    @model_validator(mode="after")
    def _scene_is_known(self) -> TaskParams:
        if self.scene not in self.scenes:
            raise ValueError(
                f"scene {self.scene!r} is unknown; expected one of {', '.join(self.scenes)}"
            )
        return self
