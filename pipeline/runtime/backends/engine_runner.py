"""Runs a TensorRT engine on this machine's GPU, without torch.

Works with `tensorrt` and `tensorrt_rtx`. Without a GPU, the tests run it with a substitute driver.
Shapes: B observations, T history steps, S state numbers, H horizon, A action numbers.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.runtime.backends.cuda import Cuda
from pipeline.runtime.backends.engine_sidecar import read_sidecar

Float32 = NDArray[np.float32]


class EngineError(PipelineError):
    """An engine does not load or run on this machine."""


class EngineRunner:
    """One engine with its context and its GPU buffers, which are kept between calls.

    Threads may share it; a lock admits one call at a time.

    Loading crashes the process if there is no driver, so ask a child process first
    (`driver_process.find_gpus`).
    """

    def __init__(self, path: Path, module: str) -> None:
        """Load an engine.

        Args:
            path: the engine file.
            module: tensorrt or tensorrt_rtx.

        Raises:
            CudaError: no driver.
            EngineError: the library refuses the engine.
        """
        self._path, self._cuda, self._lock = path, Cuda(), threading.Lock()
        trt = importlib.import_module(module)
        self._log = error_log(trt)
        self._runtime = trt.Runtime(self._log)
        # A version-compatible engine contains its own runtime as CPU code, which TensorRT runs
        # only if this is allowed (TensorRT documentation, "Engine Compatibility").
        if read_sidecar(path).get("version_compatible"):
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise EngineError(f"{path}: the engine does not load here: {self._reasons()}")
        self._context = self._engine.create_execution_context()
        self.max_batch = int(self._engine.get_tensor_profile_shape("obs", 0)[2][0])
        """Largest number of observations per call."""

    def run(self, inputs: dict[str, Float32]) -> Float32:
        """Compute chunks of actions.

        Args:
            inputs: `obs` (B, T, S), `noise` (B, H, A) and, where the policy sees obstacles,
                `obstacles` (B, K, 12).

        Returns:
            Joint positions, rad, shape (B, H, A).

        Raises:
            EngineError: the batch is outside the engine's profile, or the execution fails.
        """
        with self._lock:
            self._cuda.bind()
            for name, values in inputs.items():
                array = np.ascontiguousarray(values, np.float32)
                if not self._context.set_input_shape(name, array.shape):
                    raise EngineError(f"{self._path}: {name} {array.shape} is outside its profile")
                self._context.set_tensor_address(name, self._cuda.upload(name, array))
            noise = inputs["noise"]
            self._context.set_tensor_address("action", self._cuda.buffer("action", noise.nbytes))
            if not self._context.execute_async_v3(self._cuda.stream):
                raise EngineError(f"{self._path}: the engine failed to run: {self._reasons()}")
            return self._cuda.download("action", noise.shape)

    def _reasons(self) -> str:
        return "; ".join(self._log.errors[-3:]) or "the library gave no reason"


def error_log(trt: Any) -> Any:
    """Create a logger that collects the library's errors in `errors` and prints nothing.

    Args:
        trt: the module tensorrt or tensorrt_rtx.
    """

    class ErrorLog(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in {trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR}:
                self.errors.append(message)

    return ErrorLog()
