"""An exported policy carries every setting of chunk execution and its guard."""

from __future__ import annotations

from dataclasses import fields

from pipeline.params import ExecutionParams
from pipeline.runtime.deployment import Execution


def test_an_exported_policy_carries_every_setting() -> None:
    of_evaluation = {"fallback", "fallback_after_s"}
    expected = set(ExecutionParams.model_fields) - of_evaluation
    assert {field.name for field in fields(Execution)} == expected
