"""Running an engine: a real one where there is a GPU, else one of the tests."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pipeline.policy.checkpoint import Checkpoint
from pipeline.runtime.backends.cuda import CudaError
from pipeline.runtime.backends.driver_process import find_gpus
from pipeline.runtime.backends.engine_runner import EngineError, EngineRunner, error_log
from pipeline.runtime.backends.engine_store import build
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from tests.fixtures.fake_gpu import ENGINE, answer

has_library = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)
GPUS, REASON = find_gpus()


@pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
def test_without_a_driver_it_refuses_before_the_library_is_asked(tmp_path: Path) -> None:
    with pytest.raises(CudaError):
        EngineRunner(tmp_path / "policy.engine", "tensorrt_rtx")


@has_library
@pytest.mark.skipif(not GPUS, reason=f"needs a GPU: {REASON}")
def test_an_engine_does_what_onnx_runtime_does(
    exported: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    engine = tmp_path / "policy.engine"
    built = build(exported[1], engine, "tensorrt-rtx", GPUS[0].capability, (1, 1, 8))
    assert built["status"] == "built", built
    obs, noise = exported[0].examples.numpy(), np.zeros((5, 16, 6), np.float32)
    expected = OnnxRuntimePolicy(exported[1]).predict(obs, noise)
    runner = EngineRunner(engine, "tensorrt_rtx")
    np.testing.assert_allclose(runner.run({"obs": obs, "noise": noise}), expected, atol=1e-4)


@has_library
def test_the_log_keeps_errors_and_drops_the_rest() -> None:
    import tensorrt_rtx as trt

    log = error_log(trt)
    log.log(trt.ILogger.Severity.INFO, "hello")
    log.log(trt.ILogger.Severity.ERROR, "it hurts")
    assert log.errors == ["it hurts"]


@pytest.fixture
def runner(fake_gpu: str, tmp_path: Path) -> EngineRunner:
    (tmp_path / "policy.engine").write_bytes(ENGINE)
    return EngineRunner(tmp_path / "policy.engine", fake_gpu)


def test_each_of_many_threads_gets_its_own_answer(runner: EngineRunner) -> None:
    def ask(thread: int) -> list[bool]:
        rng = np.random.default_rng(thread)
        right = []
        for call in range(50):
            obs = rng.standard_normal((1 + (thread + call) % 4, 2, 25), dtype=np.float32)
            noise = rng.standard_normal((len(obs), 16, 6), dtype=np.float32)
            found = runner.run({"obs": obs, "noise": noise})
            right.append(np.array_equal(found, answer(obs, noise)))
        return right

    with ThreadPoolExecutor(8) as pool:
        right = [each for thread in pool.map(ask, range(8)) for each in thread]
    assert (len(right), right.count(False)) == (400, 0)


def test_a_batch_outside_the_profile_is_refused(runner: EngineRunner) -> None:
    with pytest.raises(EngineError, match=r"obs \(9, 2, 25\) is outside its profile"):
        noise = np.zeros((9, 16, 6), np.float32)
        runner.run({"obs": np.zeros((9, 2, 25), np.float32), "noise": noise})


def test_an_engine_with_host_code_is_loaded_only_where_its_sidecar_says_so(
    fake_gpu: str, tmp_path: Path
) -> None:
    engine = tmp_path / "policy.engine"
    engine.write_bytes(b"host code" + ENGINE)
    for sidecar in ({}, {"version_compatible": False}):
        engine.with_suffix(".json").write_text(json.dumps(sidecar))
        with pytest.raises(EngineError, match="does not load here: the plan is refused"):
            EngineRunner(engine, fake_gpu)
    engine.with_suffix(".json").write_text(json.dumps({"version_compatible": True}))
    assert EngineRunner(engine, fake_gpu).max_batch == 8
