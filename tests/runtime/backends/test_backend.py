"""Every engine offers what a session asks of a backend."""

from __future__ import annotations

import inspect

import pytest

from pipeline.runtime.backends.backend import Backend
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.backends.tensorrt_engine import EnginePolicy
from pipeline.runtime.backends.torch_checkpoint import TorchPolicy
from pipeline.runtime.backends.torch_graphs import TorchGraphPolicy


@pytest.mark.parametrize("engine", [OnnxRuntimePolicy, EnginePolicy, TorchPolicy, TorchGraphPolicy])
def test_an_engine_predicts_from_observations_and_noise(engine: type) -> None:
    expected = list(inspect.signature(Backend.predict).parameters)
    assert list(inspect.signature(engine.predict).parameters) == expected
