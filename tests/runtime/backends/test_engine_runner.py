"""Running an engine. Without a GPU only the refusal can be tried; the parity test needs one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pipeline.policy.checkpoint import Bundle
from pipeline.runtime.backends.cuda import CudaError
from pipeline.runtime.backends.driver_process import find_gpus
from pipeline.runtime.backends.engine_runner import EngineRunner, error_log
from pipeline.runtime.backends.engine_store import build
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)
GPUS, REASON = find_gpus()


@pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
def test_without_a_driver_it_refuses_before_the_library_is_asked(tmp_path: Path) -> None:
    with pytest.raises(CudaError):
        EngineRunner(tmp_path / "policy.engine", "tensorrt_rtx")


@pytest.mark.skipif(not GPUS, reason=f"needs a GPU: {REASON}")
def test_an_engine_does_what_onnx_runtime_does(
    exported: tuple[Bundle, Path], tmp_path: Path
) -> None:
    engine = tmp_path / "policy.engine"
    assert build(exported[1], engine, "tensorrt-rtx", GPUS[0].capability, (1, 1, 8))
    obs, noise = exported[0].examples.numpy(), np.zeros((5, 16, 6), np.float32)
    expected = OnnxRuntimePolicy(exported[1]).predict(obs, noise)
    runner = EngineRunner(engine, "tensorrt_rtx")
    np.testing.assert_allclose(runner.run(obs, noise), expected, atol=1e-4)


def test_the_log_keeps_errors_and_drops_the_rest() -> None:
    import tensorrt_rtx as trt

    log = error_log(trt)
    log.log(trt.ILogger.Severity.INFO, "hello")
    log.log(trt.ILogger.Severity.ERROR, "it hurts")
    assert log.errors == ["it hurts"]
