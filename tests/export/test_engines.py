from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pipeline.export.engines import Check, build_engines, build_here, main
from pipeline.export.graph import Precision, export_onnx
from pipeline.hashing import sha256_file
from pipeline.policy.checkpoint import Checkpoint
from pipeline.policy.observation import graph_inputs
from pipeline.runtime.backends.driver_process import find_gpus
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)


@pytest.mark.skipif(bool(find_gpus()[0]), reason="this machine has a GPU")
def test_without_a_gpu_no_engine_is_built_for_it_and_that_is_said(
    exported: tuple[Checkpoint, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = build_here(exported[1], tmp_path / "cache")
    assert [report.status for report in reports] == ["skipped", "skipped"]
    assert not (tmp_path / "cache").exists()
    assert main(exported[1].parent) == 1
    assert "tensorrt-rtx: skipped: there is no GPU: no NVIDIA driver" in capsys.readouterr().out
    assert main(tmp_path) == 1
    assert "run `python -m pipeline export` first" in capsys.readouterr().out


@needs_rtx
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_engine_of_a_policy_that_sees_obstacles_has_a_third_input(
    seeing: tuple[Checkpoint, Path], tmp_path: Path, precision: Precision
) -> None:
    checkpoint, graph = seeing
    if precision == "float16":
        graph = tmp_path / "policy.onnx"
        export_onnx(checkpoint, graph, 18, {}, precision=precision)
    policy = OnnxRuntimePolicy(graph)
    obs, noise = checkpoint.examples.numpy(), np.zeros((5, 16, 6), np.float32)
    inputs = {**graph_inputs(obs, policy.layout), "noise": noise}
    assert {name: list(array.shape[1:]) for name, array in inputs.items()} == policy.input_shapes
    check = Check(inputs, policy.predict(obs, noise))
    (built, _) = build_engines(graph, tmp_path / "engines", ("8.6",), (1, 1, 8), check)
    assert built.status in ("built, not run", "built and run"), built.reason
    if built.status == "built and run":
        assert built.max_abs_rad is not None
        assert built.max_abs_rad < (1e-4 if precision == "float32" else 5e-3)


@needs_rtx
def test_engines_are_built_ahead_of_time_and_never_called_run_without_their_gpu(
    exported: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    checkpoint, graph = exported
    obs, noise = checkpoint.examples.numpy(), np.zeros((5, 16, 6), np.float32)
    check = Check({"obs": obs, "noise": noise}, OnnxRuntimePolicy(graph).predict(obs, noise))
    reports = list(build_engines(graph, tmp_path / "engines", ("8.6", "9.0"), (1, 1, 8), check))
    by_target = {(report.backend, report.target): report for report in reports}
    built, unknown = by_target["tensorrt-rtx", "8.6"], by_target["tensorrt-rtx", "9.0"]
    gpus, reason = find_gpus()
    if not any(gpu.capability == "8.6" for gpu in gpus):
        assert built.status == "built, not run"
        assert built.reason is not None
        assert built.max_abs_rad is None
    assert built.file == "engines/policy-tensorrt-rtx-sm86.engine"
    engine = tmp_path / built.file
    assert engine.stat().st_size == built.bytes
    sidecar = json.loads(engine.with_suffix(".json").read_text())
    assert sidecar["onnx_sha256"] == sha256_file(graph)
    assert sidecar["engine_sha256"] == sha256_file(engine)
    assert sidecar["compute_capability"] == "8.6"
    assert sidecar["layout"]["fingerprint"] == checkpoint.layout.fingerprint
    assert sidecar["profile"] == {"min_batch": 1, "opt_batch": 1, "max_batch": 8}
    assert unknown.status == "skipped"
    assert unknown.reason is not None
    assert "SM86" in unknown.reason
    if not gpus:
        full = by_target["tensorrt", None]
        assert full.status == "skipped"
        assert reason in str(full.reason)
