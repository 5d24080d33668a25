"""What a sidecar says decides whether an engine may be loaded here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.hashing import sha256_file
from pipeline.runtime.backends.driver_process import Gpu
from pipeline.runtime.backends.engine_sidecar import mismatch, read_profile, read_sidecar

ONNX = "0" * 64


def write(folder: Path, **changes: Any) -> Path:
    engine = folder / "policy-tensorrt-sm86.engine"
    engine.write_bytes(b"engine")
    known = {
        "backend": "tensorrt",
        "version": "10.13.3.9",
        "compute_capability": "8.6",
        "onnx_sha256": ONNX,
        "engine_sha256": sha256_file(engine),
        "version_compatible": False,
        "hardware_compatible": False,
    }
    engine.with_suffix(".json").write_text(json.dumps({**known, **changes}))
    return engine


@pytest.mark.parametrize(
    ("compatible", "installed", "problem"),
    [
        (False, "10.13.3.9", None),
        (False, "10.14.0", "was built by tensorrt 10.13.3.9, but 10.14.0 is installed"),
        (True, "10.13.3.9", None),
        (True, "10.14.0", None),
        (True, "11.0.0", None),
        (True, "10.9.0", "was built by tensorrt 10.13.3.9, but 10.9.0 is installed"),
        (True, "10.13.3.dev1", "was built by tensorrt 10.13.3.9, but 10.13.3.dev1"),
    ],
)
def test_a_version_compatible_engine_fits_later_releases(
    compatible: bool, installed: str, problem: str | None, tmp_path: Path
) -> None:
    engine = write(tmp_path, version_compatible=compatible)
    found = mismatch(engine, ONNX, "tensorrt", installed, Gpu("A", "8.6"))
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize(
    ("compatible", "built_for", "here", "fits"),
    [
        (False, "8.6", "8.6", True),
        (False, "8.6", "8.9", False),
        (True, "8.6", "8.9", True),
        (True, "8.6", "8.0", True),
        (True, "8.9", "12.0", True),
        (True, "8.6", "7.5", False),
    ],
)
def test_a_hardware_compatible_engine_fits_every_gpu_from_ampere_on(
    compatible: bool, built_for: str, here: str, fits: bool, tmp_path: Path
) -> None:
    engine = write(tmp_path, hardware_compatible=compatible, compute_capability=built_for)
    found = mismatch(engine, ONNX, "tensorrt", "10.13.3.9", Gpu("A", here))
    expected = f"is for compute capability {built_for}, this GPU has {here}"
    assert found is None if fits else expected in str(found)


def test_an_engine_without_a_readable_sidecar_is_not_trusted(tmp_path: Path) -> None:
    engine, gpu = write(tmp_path), Gpu("A", "8.6")
    for content in ("{", "[1]"):
        engine.with_suffix(".json").write_text(content)
        assert "holds no JSON object" in str(mismatch(engine, ONNX, "tensorrt", "10", gpu))
        assert read_sidecar(engine) == {}
        assert read_profile(engine) == (1, 1, 64)
    engine.with_suffix(".json").unlink()
    assert "has no sidecar" in str(mismatch(engine, ONNX, "tensorrt", "10", gpu))
    missing = engine.with_name("none.engine")
    assert "there is no engine none.engine" in str(mismatch(missing, ONNX, "tensorrt", "10", gpu))
