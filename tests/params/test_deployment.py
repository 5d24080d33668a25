"""The section export, without a file: what cannot be is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.params import ExportParams, Params


@given(st.tuples(*[st.integers(1, 512)] * 3))
def test_batches_rise(batch: tuple[int, int, int]) -> None:
    fields = {
        "opset": 18, "unrolled": False, "precision": "float32", "targets": (), "batch": batch,
        "version_compatible": False, "hardware_compatible": False, "parity_rad": 1.0,
        "half_parity_rad": 1.0, "engine_parity_rad": 1.0, "latency_calls": 1,
    }  # fmt: skip
    if list(batch) == sorted(batch):
        assert ExportParams.model_validate(fields).batch == batch
    else:
        with pytest.raises(ValidationError, match="must rise"):
            ExportParams.model_validate(fields)


def test_an_unknown_precision_is_refused(params: Params) -> None:
    with pytest.raises(ValidationError, match="precision"):
        ExportParams.model_validate({**params.export.model_dump(), "precision": "int4"})
