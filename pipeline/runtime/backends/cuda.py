"""Manages memory, copies and a stream on a GPU, so that an engine runs without torch.

Calls the driver (libcuda) through ctypes in the device's primary context, which TensorRT shares.
The signatures follow NVIDIA's CUDA Driver API reference.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError


class CudaError(PipelineError):
    """The NVIDIA driver is missing or refused a call."""


class Cuda:
    """One GPU with a stream, and for each tensor memory on the GPU and page-locked memory here.

    Copies from page-locked memory run in the stream and can be captured in a CUDA graph; the driver
    copies other memory in pieces, and waits.
    """

    def __init__(self, device: int = 0) -> None:
        """Use the primary context of a GPU.

        Args:
            device: number of the GPU.

        Raises:
            CudaError: there is no driver, or it refuses a call.
        """
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError(f"no NVIDIA driver: {error}") from error
        self._call("cuInit", 0)
        handle, self._context, self._stream = c_int(), c_void_p(), c_void_p()
        self._call("cuDeviceGet", byref(handle), device)
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), handle)
        self._call("cuCtxSetCurrent", self._context)
        # CU_STREAM_NON_BLOCKING: it does not wait for work of others in the default stream.
        self._call("cuStreamCreate", byref(self._stream), 1)
        self._memory: dict[str, tuple[c_uint64, c_void_p, int]] = {}

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.value or 0)

    def buffer(self, name: str, size: int) -> int:
        """Return the address of a tensor on the GPU; replace its memory if it is too small.

        Args:
            name: name of the tensor.
            size: size in bytes.
        """
        if name not in self._memory or self._memory[name][2] < size:
            if name in self._memory:
                # Remove the entry first, so that a failed allocation leaves no freed address.
                address, host, _ = self._memory.pop(name)
                self._call("cuMemFree_v2", address)
                self._call("cuMemFreeHost", host)
            address, host = c_uint64(), c_void_p()
            self._call("cuMemAlloc_v2", byref(address), c_size_t(size))
            self._call("cuMemAllocHost_v2", byref(host), c_size_t(size))
            self._memory[name] = (address, host, size)
        return int(self._memory[name][0].value)

    def host(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the page-locked memory of a tensor as an array.

        Args:
            name: name of a tensor that has a buffer.
            shape: shape of the array.
        """
        _, host, _ = self._memory[name]
        numbers = ctypes.cast(host, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(numbers, shape)

    def upload(self, name: str, size: int) -> None:
        """Queue the copy of a tensor to the GPU.

        Args:
            name: name of a tensor that has a buffer.
            size: size in bytes.
        """
        address, host, _ = self._memory[name]
        self._call("cuMemcpyHtoDAsync_v2", address, host, c_size_t(size), self._stream)

    def download(self, name: str, size: int) -> None:
        """Queue the copy of a tensor from the GPU.

        Args:
            name: name of a tensor that has a buffer.
            size: size in bytes.
        """
        address, host, _ = self._memory[name]
        self._call("cuMemcpyDtoHAsync_v2", host, address, c_size_t(size), self._stream)

    def wait(self) -> None:
        """Wait until everything in the stream is done."""
        self._call("cuStreamSynchronize", self._stream)

    def capture(self, queue: Callable[[], None]) -> c_void_p:
        """Record what a function puts into the stream, without running it.

        Args:
            queue: makes calls that a CUDA graph can hold.

        Returns:
            The graph, for `replay`.

        Raises:
            CudaError: the function makes a call that no graph can hold.
        """
        graph, executable = c_void_p(), c_void_p()
        # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may call the driver meanwhile.
        self._call("cuStreamBeginCapture_v2", self._stream, 1)
        try:
            queue()
        finally:
            # The stream must leave the capture in any case.
            self._call("cuStreamEndCapture", self._stream, byref(graph))
        self._call("cuGraphInstantiateWithFlags", byref(executable), graph, c_uint64(0))
        self._call("cuGraphDestroy", graph)
        return executable

    def replay(self, graph: c_void_p) -> None:
        """Queue a graph.

        Args:
            graph: see `capture`.
        """
        self._call("cuGraphLaunch", graph, self._stream)

    def bind(self) -> None:
        """Make the context current in the calling thread, since a server uses several threads."""
        self._call("cuCtxSetCurrent", self._context)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code:
            text = c_char_p()
            self._driver.cuGetErrorString(code, byref(text))
            said = text.value.decode() if text.value else "unknown error"
            raise CudaError(f"{name} failed: {said} (error {code})")
