from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from pipeline.policy.checkpoint import Checkpoint
from pipeline.policy.observation import ObservationError
from pipeline.runtime.backends.onnx_runtime import BackendError, OnnxRuntimePolicy

REPOSITORY = Path(__file__).parents[3]


def test_an_exported_policy_says_what_it_is_and_refuses_what_does_not_fit(
    exported: tuple[Checkpoint, Path],
) -> None:
    checkpoint, path = exported
    policy = OnnxRuntimePolicy(path)
    assert policy.layout == checkpoint.layout
    assert policy.config == checkpoint.config
    assert policy.rate_hz == 30.0
    obs, noise = checkpoint.examples.numpy(), np.zeros((5, 16, 6), np.float32)
    together = policy.predict(obs, noise)
    assert together.shape == (5, 16, 6)
    np.testing.assert_allclose(policy.predict(obs[3], noise[:1])[0], together[3], atol=1e-5)
    with pytest.raises(ObservationError, match="shape"):
        policy.predict(obs[:, :1], noise)
    with pytest.raises(ObservationError, match="noise"):
        policy.predict(obs, noise[:4])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no such file"):
        OnnxRuntimePolicy(tmp_path / "policy.onnx")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.onnx").write_bytes(b"not a graph")
    with pytest.raises(BackendError, match="cannot load"):
        OnnxRuntimePolicy(tmp_path / "policy.onnx")


def test_another_program_s_graph_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "other", [value], [other])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(BackendError, match="no metadata layout"):
        OnnxRuntimePolicy(tmp_path / "m.onnx")


def test_nothing_of_its_use_is_recorded(exported: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    code = "import sys; from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy as P; "
    code += "P(sys.argv[1])"
    environment = {key: v for key, v in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, str(exported[1])]
    subprocess.run(command, env=environment, check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_is_not_replaced_by_the_cpu_without_a_word(
    exported: tuple[Checkpoint, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime was built with CUDA")
    with pytest.raises(BackendError, match="built without CUDA"):
        OnnxRuntimePolicy(exported[1], cuda=True)
    # As a build with CUDA does where it finds no libraries: a warning, and the CPU.
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(BackendError, match="found no CUDA"),
    ):
        OnnxRuntimePolicy(exported[1], cuda=True)
