"""Parameters and the settings of an exported policy say what chunk execution and guard read."""

from __future__ import annotations

from dataclasses import fields

from pipeline.params import ExecutionParams
from pipeline.runtime.execution import ExecutionSettings
from pipeline.runtime.guard.repair import GuardSettings
from pipeline.runtime.session import Execution


def test_both_carry_every_setting() -> None:
    carried = {field.name for field in fields(Execution)}
    assert carried == set(ExecutionParams.model_fields)
    for protocol in (ExecutionSettings, GuardSettings):
        read = {name for name, value in vars(protocol).items() if isinstance(value, property)}
        assert read
        assert read <= carried
