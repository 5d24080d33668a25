"""The base class of the sections of params.yaml, and types for ranges of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

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

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Validate data as YAML and JSON give them: lists for tuples, text for paths.

        Args:
            data: values by key.

        Raises:
            ValidationError: a key is missing or unknown, or a value has another type or range.
        """
        # Strict validation takes lists and text for these only from JSON.
        return cls.model_validate_json(json.dumps(data, default=str))
