"""Runs a TensorRT engine on this machine's GPU, without torch.

Works with `tensorrt` and `tensorrt_rtx`. Without a GPU, the tests run it with a substitute driver.
Shapes: B observations, T history steps, S state numbers, H horizon, A action numbers.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.runtime.backends.cuda import Cuda, CudaError
from pipeline.runtime.backends.engine_sidecar import read_sidecar

logger = logging.getLogger(__name__)

Float32 = NDArray[np.float32]
KEPT_BATCHES = 4
"""Batch sizes that get a context and a graph of their own; a robot uses one or two."""


class EngineError(PipelineError):
    """An engine does not load or run on this machine."""


class EngineRunner:
    """One engine with its GPU buffers, which are kept between calls.

    The first batches of different sizes each get an execution context and, where the denoising
    steps are unrolled (a Loop cannot be captured), a CUDA graph of copies and engine together.
    Threads may share the runner; a lock admits one call at a time.

    Loading crashes the process if there is no driver, so ask a child process first
    (`driver_process.find_gpus`). Never run on a GPU.
    """

    def __init__(self, path: Path, module: str, compiled: Path | None = None) -> None:
        """Load an engine.

        Args:
            path: the engine file.
            module: tensorrt or tensorrt_rtx.
            compiled: file in which TensorRT-RTX keeps the kernels that it compiles when an engine
                first runs; None to compile them again in every process.

        Raises:
            CudaError: no driver.
            EngineError: the library refuses the engine.
        """
        self._path, self._cuda, self._lock = path, Cuda(), threading.Lock()
        trt = importlib.import_module(module)
        self._log = error_log(trt)
        self._runtime = trt.Runtime(self._log)
        sidecar = read_sidecar(path)
        # A version-compatible engine contains its own runtime as CPU code, which TensorRT runs
        # only if this is allowed (TensorRT documentation, "Engine Compatibility").
        if sidecar.get("version_compatible"):
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise EngineError(f"{path}: the engine does not load here: {self._reasons()}")
        self._kernels = CompiledKernels(trt, self._engine, compiled)
        self._capturable = sidecar.get("denoising") == "unrolled"
        self._context = self._new_context()
        self._batches: dict[int, _Batch] = {}
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
        shapes = {name: np.shape(values) for name, values in inputs.items()}
        for name, shape in shapes.items():
            if not 1 <= shape[0] <= self.max_batch:
                raise EngineError(f"{self._path}: {name} {shape} is outside its profile")
        with self._lock:
            self._cuda.bind()
            for name, shape in {**shapes, "action": shapes["noise"]}.items():
                self._cuda.buffer(name, self.max_batch * _size((1, *shape[1:])))
            for name, values in inputs.items():
                self._cuda.host(name, shapes[name])[...] = values
            size = shapes["noise"][0]
            batch = self._batches.get(size)
            if batch is not None and batch.graph is not None:
                self._cuda.replay(batch.graph)
            else:
                context = self._context if batch is None else batch.context
                self._queue(context, shapes)
            self._cuda.wait()
            action = self._cuda.host("action", shapes["noise"]).copy()
            if batch is None and len(self._batches) < KEPT_BATCHES:
                self._batches[size] = self._prepared(shapes)
            return action

    def _queue(self, context: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        """Put copies and engine into the stream."""
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineError(f"{self._path}: {name} {shape} is outside its profile")
            context.set_tensor_address(name, self._cuda.buffer(name, _size(shape)))
            self._cuda.upload(name, _size(shape))
        size = _size(shapes["noise"])
        context.set_tensor_address("action", self._cuda.buffer("action", size))
        if not context.execute_async_v3(self._cuda.stream):
            raise EngineError(f"{self._path}: the engine failed to run: {self._reasons()}")
        self._cuda.download("action", size)

    def _prepared(self, shapes: dict[str, tuple[int, ...]]) -> _Batch:
        """A context for one batch size, with a graph where one can be captured."""
        try:
            # Of its own: a graph holds the context's memory, and other shapes would change it.
            context = self._new_context()
            self._queue(context, shapes)  # what a context does only once must not be captured
            self._cuda.wait()
            self._kernels.keep()
            asked = getattr(context, "is_stream_capturable", None)
            if not self._capturable or (asked is not None and not asked(self._cuda.stream)):
                return _Batch(context, None)
            return _Batch(context, self._cuda.capture(lambda: self._queue(context, shapes)))
        except (CudaError, EngineError) as error:
            logger.warning("%s runs without a CUDA graph: %s", self._path, error)
            return _Batch(self._context, None)

    def _new_context(self) -> Any:
        context = self._kernels.context()
        if context is None:
            raise EngineError(f"{self._path}: there is no room to run it: {self._reasons()}")
        return context

    def _reasons(self) -> str:
        return "; ".join(self._log.errors[-3:]) or "the library gave no reason"


@dataclass(frozen=True)
class _Batch:
    """What is kept for one batch size."""

    context: Any
    graph: Any | None


class CompiledKernels:
    """Makes execution contexts; with TensorRT-RTX also keeps the kernels that they compile.

    TensorRT-RTX compiles kernels for the GPU and the shapes when an engine first runs. All of them
    are compiled before a call returns, so that a warm-up leaves none for later.
    """

    def __init__(self, trt: Any, engine: Any, file: Path | None) -> None:
        """Read the kernels that an earlier process kept.

        Args:
            trt: the module tensorrt or tensorrt_rtx.
            engine: of that library.
            file: see `EngineRunner`; the library ignores one of another GPU, driver or release.
        """
        self._engine, self._file, self._kept = engine, file, b""
        self._config = self._cache = None
        if not hasattr(trt, "IRuntimeCache"):
            return
        self._config = engine.create_runtime_config()
        strategies = trt.DynamicShapesKernelSpecializationStrategy
        self._config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        self._cache = self._config.create_runtime_cache()
        if file is not None and file.is_file():
            self._kept = file.read_bytes()
            self._cache.deserialize(self._kept)
        self._config.set_runtime_cache(self._cache)

    def context(self) -> Any:
        """A new execution context."""
        if self._config is None:
            return self._engine.create_execution_context()
        return self._engine.create_execution_context(self._config)

    def keep(self) -> None:
        """Write the kernels to the file if there are new ones; a full disk costs only the file."""
        if self._file is None or self._cache is None:
            return
        content = bytes(self._cache.serialize())
        if content == self._kept:
            return
        self._kept = content
        partial = self._file.with_name(f"{self._file.name}.{os.getpid()}.partial")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(self._file)
        except OSError as error:
            logger.warning("%s cannot be written, so kernels are not kept: %s", self._file, error)


def _size(shape: tuple[int, ...]) -> int:
    """Bytes of a float32 array."""
    return 4 * math.prod(shape)


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
