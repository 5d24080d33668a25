"""What every section of params.yaml is made of: the base class and ranges of numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import PipelineError

PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Vector3 = tuple[float, float, float]


class ParamsError(PipelineError):
    """params.yaml is missing, unreadable, or holds a value that does not fit."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are refused, values are frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
