"""Manages memory, copies and a stream on a GPU, so that an engine runs without torch.

Calls the driver (libcuda) through ctypes in the device's primary context, which TensorRT shares.
The signatures follow NVIDIA's CUDA Driver API reference.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError


class CudaError(PipelineError):
    """The NVIDIA driver is missing or refused a call."""


class Cuda:
    """One GPU with named buffers and a stream."""

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
        self._call("cuStreamCreate", byref(self._stream), 0)
        self._memory: dict[str, tuple[c_uint64, int]] = {}

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.value or 0)

    def buffer(self, name: str, size: int) -> int:
        """Return the address of a buffer on the GPU; replace the buffer if it is too small.

        Args:
            name: name of the tensor.
            size: size in bytes.
        """
        if name not in self._memory or self._memory[name][1] < size:
            if name in self._memory:
                # Remove the entry first, so that a failed allocation leaves no freed address.
                self._call("cuMemFree_v2", self._memory.pop(name)[0])
            address = c_uint64()
            self._call("cuMemAlloc_v2", byref(address), c_size_t(size))
            self._memory[name] = (address, size)
        return int(self._memory[name][0].value)

    def upload(self, name: str, array: NDArray[np.float32]) -> int:
        """Copy to the GPU.

        Args:
            name: name of the tensor.
            array: contiguous array.

        Returns:
            Address on the GPU.
        """
        address = self.buffer(name, array.nbytes)
        self._call(
            "cuMemcpyHtoD_v2", c_uint64(address), array.ctypes.data_as(c_void_p),
            c_size_t(array.nbytes),
        )  # fmt: skip
        return address

    def download(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Wait for the stream, then copy from the GPU.

        Args:
            name: name of the tensor.
            shape: shape of the result.
        """
        self._call("cuStreamSynchronize", self._stream)
        array = np.empty(shape, np.float32)
        self._call(
            "cuMemcpyDtoH_v2", array.ctypes.data_as(c_void_p), self._memory[name][0],
            c_size_t(array.nbytes),
        )  # fmt: skip
        return array

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
