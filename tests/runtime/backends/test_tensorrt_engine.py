"""An engine as a backend: a real one where there is a GPU, else one of the tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime.backends.cuda import CudaError
from pipeline.runtime.backends.driver_process import find_gpus
from pipeline.runtime.backends.engine_store import build
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.backends.tensorrt_engine import EnginePolicy, in_batches
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.session import RobotPolicy
from pipeline.serving.client import PolicyClient
from tests.conftest import HANG_S
from tests.fixtures.fake_gpu import ENGINE, answer
from tests.fixtures.policy import random_states
from tests.fixtures.serving import served

has_library = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)
GPUS, _ = find_gpus()


@pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
def test_without_a_driver_it_is_refused(exported: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    with pytest.raises(CudaError):
        EnginePolicy(tmp_path / "policy.engine", exported[1], "tensorrt-rtx")


@has_library
@pytest.mark.gpu
def test_it_predicts_as_onnx_runtime_does(
    exported: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    engine = tmp_path / "policy.engine"
    built = build(exported[1], engine, "tensorrt-rtx", GPUS[0].capability, (1, 1, 8))
    assert built["status"] == "built", built
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

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        sizes.append(len(inputs["obs"]))
        return inputs["obs"] + inputs["noise"]

    obs = np.arange(number, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(in_batches(run, most, {"obs": obs, "noise": obs}), 2 * obs)
    assert max(sizes) <= most


def test_each_client_of_a_served_engine_gets_its_own_answers(
    fake_gpu: str, exported: tuple[Checkpoint, Path], params: Params, tmp_path: Path
) -> None:
    (tmp_path / "policy.engine").write_bytes(ENGINE)
    engine = EnginePolicy(tmp_path / "policy.engine", exported[1], fake_gpu)
    limits = RobotModel.from_params(params.robot).limits
    policy = RobotPolicy(engine, fake_gpu, Deployment.from_params(params.execution, limits))

    def ask(url: str, number: int) -> list[bool]:
        rng = np.random.default_rng(number)
        right = []
        with PolicyClient(url, timeout_s=HANG_S) as client:
            for call in range(25):
                size = 1 + (number + call) % 9
                obs = random_states(rng, engine.layout, size, 2)
                noise = rng.standard_normal((size, 16, 6), dtype=np.float32)
                right.append(np.array_equal(client.predict(obs, noise), answer(obs, noise)))
        return right

    with served(policy) as url, ThreadPoolExecutor(8) as pool:
        right = [each for client in pool.map(ask, [url] * 8, range(8)) for each in client]
    assert (len(right), right.count(False)) == (200, 0)
