"""The measurements for a GPU, run once on a CPU: the same code, tiny, and how it fails."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import __main__ as gpu
from bench.gpu import part as gpu_part
from tests.conftest import REPOSITORY

ABSENT = ("dvclive", "lz4", "msgpack", "ompl", "rosbags", "websockets")
"""Packages that bench/gpu/requirements.txt leaves out; no part may need them."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    hide = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n"
    (out.parent / "sitecustomize.py").write_text(hide)
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--dry-run", "--minutes", "600", "--out", str(out)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(out.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, Any] = json.loads(out.read_text())
    return results


def test_every_part_runs_or_says_in_a_line_why_not(found: dict[str, Any]) -> None:
    statuses = {name: part["status"] for name, part in found["parts"].items()}
    assert statuses == {
        "machine": "done", "train": "done", "parity": "done", "batch": "done", "latency": "done",
        "strict": "not available: a dry run has no data set", "resume": "done",
        "tests": "not available: a dry run has no GPU",
    }  # fmt: skip
    assert all(part["seconds"] >= 0 for part in found["parts"].values())
    assert found["machine"] == found["parts"]["machine"]["name"]


def test_the_numbers_are_there(found: dict[str, Any]) -> None:
    parts = found["parts"]
    speeds = [row for row in parts["train"].values() if isinstance(row, dict)]
    assert len(speeds) == 6 and all(row["samples_per_s"] > 0 for row in speeds)
    graphs = {row for key, row in parts["train"].items() if key.endswith("graphs")}
    assert graphs == {"not available: a CPU has no CUDA graphs"}
    for name, row in parts["parity"].items():
        if "fp32" in name:
            assert row["relative_loss"] == row["relative_gradient"] == 0  # the CPU with itself
        elif "bf16" in name:
            assert 0 < row["relative_loss"] < 0.01
    assert parts["batch"]["transformer"]["ran"] == 64
    assert parts["latency"]["mlp, torch"]["batch 64"]["first_ms"] > 0
    assert parts["latency"]["mlp, onnxruntime"]["batch 1"]["calls"] == 2
    absent = parts["latency"]["mlp, torch graphs"]["batch 1"]
    assert "torch sees none" in absent["reason"] or absent["status"] == "run"
    assert parts["resume"]["bit_for_bit"] and parts["resume"]["max_abs_difference"] == 0
    assert 0 < parts["resume"]["stopped_after_step"] < 40


def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(dry_run=True, data=tmp_path / "no.zarr")


def test_a_part_that_crashes_hangs_or_fails_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def part(name: str, ends: Any, limit_s: float = 600.0) -> dict[str, Any]:
        def run(_: str, __: argparse.Namespace, answer: Path) -> None:
            os.setsid()
            faulthandler.disable()  # its report of the crash belongs to nobody
            answer.write_text(json.dumps({"row": 1}))
            ends()

        monkeypatch.setattr(gpu_part, "run", run)
        return gpu.run_part(name, options(tmp_path), limit_s)

    crashed = part("crash", lambda: os.kill(os.getpid(), 11))
    assert crashed["status"] == "failed: its process ended with SIGSEGV"
    assert crashed["row"] == 1
    hung = part("hang", lambda: time.sleep(1e6), limit_s=0.5)
    assert hung["status"].startswith("failed: not done after")


def test_reasons_are_one_line() -> None:
    assert gpu_part.reason(ModuleNotFoundError("No module", name="pinocchio")) == (
        "not available: needs the package pinocchio"
    )
    assert gpu_part.reason(gpu_part.NotAvailableError("no GPU")) == "not available: no GPU"
    assert gpu_part.reason(ValueError("first\nsecond")) == "failed: ValueError: first"
    assert gpu_part.reason(KeyError()) == "failed: KeyError: KeyError"


def test_a_part_without_a_gpu_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_part.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(os, "setsid", lambda: None)
    asked = argparse.Namespace(dry_run=False, data=tmp_path)
    gpu_part.run("train", asked, tmp_path / "answer.json")
    written = json.loads((tmp_path / "answer.json").read_text())
    assert written == {"status": "not available: torch sees no GPU"}


def test_an_empty_folder_of_wheels_is_refused_with_the_command_that_fills_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(SystemExit, match=r"no wheels; fill it with `python -m bench\.wheels"):
        gpu.install(tmp_path, tmp_path / "target")
