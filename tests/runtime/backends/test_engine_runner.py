"""Running an engine: a real one where there is a GPU, else one of the tests."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pipeline.policy.checkpoint import Checkpoint
from pipeline.runtime.backends.cuda import CudaError
from pipeline.runtime.backends.driver_process import find_gpus
from pipeline.runtime.backends.engine_runner import (
    KEPT_BATCHES,
    EngineError,
    EngineRunner,
    error_log,
)
from pipeline.runtime.backends.engine_store import build
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from tests.fixtures.fake_gpu import ENGINE, Driver, answer

has_library = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)
GPUS, _ = find_gpus()


@pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
def test_without_a_driver_it_refuses_before_the_library_is_asked(tmp_path: Path) -> None:
    with pytest.raises(CudaError):
        EngineRunner(tmp_path / "policy.engine", "tensorrt_rtx")


@has_library
@pytest.mark.gpu
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


def ask(runner: EngineRunner, size: int, seed: int) -> bool:
    """Whether a call gives the engine's answer."""
    rng = np.random.default_rng(seed)
    obs = rng.standard_normal((size, 2, 25), dtype=np.float32)
    noise = rng.standard_normal((size, 16, 6), dtype=np.float32)
    return np.array_equal(runner.run({"obs": obs, "noise": noise}), answer(obs, noise))


@pytest.fixture
def unrolled(fake_gpu: str, tmp_path: Path) -> EngineRunner:
    (tmp_path / "policy.engine").write_bytes(ENGINE)
    (tmp_path / "policy.json").write_text(json.dumps({"denoising": "unrolled"}))
    return EngineRunner(tmp_path / "policy.engine", fake_gpu)


def test_an_unrolled_engine_gets_one_graph_for_each_of_the_first_batch_sizes(
    unrolled: EngineRunner, driver: Driver
) -> None:
    sizes = [1, 8, 1, 2, 8, 3, 1, 5, 5, 8, 2, 5]
    assert all(ask(unrolled, size, seed) for seed, size in enumerate(sizes))
    assert len(driver.graphs) == KEPT_BATCHES
    # All but the first calls of 1, 8, 2 and 3, and the three of 5.
    assert driver.replays == len(sizes) - 4 - 3


def test_an_engine_with_a_loop_or_that_cannot_be_captured_runs_without_a_graph(
    runner: EngineRunner,
    unrolled: EngineRunner,
    driver: Driver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver.refuses_capture = True
    (runner._path.with_suffix(".json")).unlink()
    looped = EngineRunner(runner._path, "tensorrt_fake")
    for seed in range(3):
        assert ask(looped, 2, seed)
    assert "without a CUDA graph" not in caplog.text
    for seed in range(3):
        assert ask(unrolled, 2, seed)
    assert caplog.text.count("runs without a CUDA graph: cuStreamBeginCapture_v2 failed") == 1
    assert driver.replays == 0


def test_kernels_are_compiled_once_for_all_processes(fake_gpu: str, tmp_path: Path) -> None:
    (tmp_path / "policy.engine").write_bytes(ENGINE)
    kept = tmp_path / "kernels"
    for _ in range(3):
        assert ask(EngineRunner(tmp_path / "policy.engine", fake_gpu, kept), 1, 0)
    assert kept.read_bytes() == b"kernels"
    assert sys.modules[fake_gpu].compilations == 1
    assert ask(EngineRunner(tmp_path / "policy.engine", fake_gpu, tmp_path / "no" / "folder"), 1, 0)
