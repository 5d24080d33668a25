from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.backends.engine_worker import build, gpus


def task(tmp_path: Path, **values: Any) -> dict[str, Any]:
    return {
        "module": "tensorrt_rtx",
        "onnx": str(tmp_path / "policy.onnx"),
        "engine": str(tmp_path / "policy.engine"),
        "capability": "8.6",
        "batch": [1, 1, 2],
        "obs": [2, 25],
        "noise": [16, 6],
        "version_compatible": False,
        "hardware_compatible": False,
        "timing_cache": None,
        **values,
    }


def test_a_library_that_is_not_there_is_skipped_with_its_name(tmp_path: Path) -> None:
    answer = build(task(tmp_path, module="tensorrt_that_is_not_there"))
    assert answer["status"] == "skipped"
    assert "tensorrt_that_is_not_there" in answer["reason"]


def test_a_graph_that_the_parser_refuses_fails_and_leaves_no_engine(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    (tmp_path / "policy.onnx").write_bytes(b"no graph")
    command = [sys.executable, "-m", "pipeline.runtime.backends.engine_worker"]
    asked = json.dumps({"kind": "build", **task(tmp_path)})
    child = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    answer = json.loads(child.stdout.splitlines()[-1])
    assert answer["status"] == "failed"
    assert "parser" in answer["reason"]
    assert not (tmp_path / "policy.engine").exists()


def test_no_gpu_has_a_reason_and_a_gpu_has_a_capability() -> None:
    answer = gpus({})
    assert bool(answer["gpus"]) != bool(answer["reason"])
    assert all(gpu["capability"].count(".") == 1 for gpu in answer["gpus"])
