"""An engine as a backend. It runs on a GPU alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policy.checkpoint import Bundle
from pipeline.runtime.backends.cuda import CudaError
from pipeline.runtime.backends.driver_process import find_gpus
from pipeline.runtime.backends.engine_store import build
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.backends.tensorrt_engine import EnginePolicy, in_pieces

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)
GPUS, REASON = find_gpus()


@pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
def test_without_a_driver_it_is_refused(exported: tuple[Bundle, Path], tmp_path: Path) -> None:
    with pytest.raises(CudaError):
        EnginePolicy(tmp_path / "policy.engine", exported[1], "tensorrt-rtx")


@pytest.mark.skipif(not GPUS, reason=f"needs a GPU: {REASON}")
def test_it_predicts_as_onnx_runtime_does(exported: tuple[Bundle, Path], tmp_path: Path) -> None:
    engine = tmp_path / "policy.engine"
    assert build(exported[1], engine, "tensorrt-rtx", GPUS[0].capability, (1, 1, 8))
    policy, graph = (
        EnginePolicy(engine, exported[1], "tensorrt-rtx"),
        OnnxRuntimePolicy(exported[1]),
    )
    examples = exported[0].examples.numpy()[:5]
    obs, noise = np.tile(examples, (4, 1, 1)), np.zeros((20, 16, 6), np.float32)
    assert policy.layout == graph.layout
    np.testing.assert_allclose(policy.predict(obs, noise), graph.predict(obs, noise), atol=1e-4)


@given(number=st.integers(1, 30), most=st.integers(1, 12))
def test_pieces_are_put_together_in_order(number: int, most: int) -> None:
    sizes: list[int] = []

    def run(obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        sizes.append(len(obs))
        return obs + noise

    obs = np.arange(number, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(in_pieces(run, most, obs, obs), 2 * obs)
    assert max(sizes) <= most
