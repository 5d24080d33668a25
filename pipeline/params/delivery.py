"""Sections `export` and `release` of params.yaml: how a trained policy is handed over.

Knows the other sections and the file as little as they know it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.task import Positive, PositiveInt, Section

BackendName = Literal["torch", "onnxruntime", "tensorrt-rtx", "tensorrt"]


class ExportParams(Section):
    """ONNX graph and TensorRT engines."""

    opset: Annotated[int, Field(ge=18)]
    unrolled: bool
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
            raise ValueError(f"batch {list(self.batch)} must rise: least, usual, most")
        return self


class ReleaseParams(Section):
    """What a policy must have shown before it gets a version."""

    min_success: Annotated[float, Field(ge=0, le=1)]
    min_collision_free: Annotated[float, Field(ge=0, le=1)]
    min_pens: PositiveInt
