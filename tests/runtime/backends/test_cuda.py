"""The driver's calls: the real driver's where there is a GPU, else one of the tests."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.runtime.backends.cuda import Cuda, CudaError
from pipeline.runtime.backends.driver_process import find_gpus
from tests.fixtures.fake_gpu import Driver

GPUS, _ = find_gpus()


@pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
def test_no_driver_is_an_error_of_its_own() -> None:
    with pytest.raises(CudaError, match=r"no NVIDIA driver|cuInit failed"):
        Cuda()


def round_trip(cuda: Cuda, array: np.ndarray) -> np.ndarray:
    """An array that was copied to the GPU, forgotten here, and copied back."""
    cuda.buffer("x", array.nbytes)
    cuda.host("x", array.shape)[...] = array
    cuda.upload("x", array.nbytes)
    cuda.wait()
    cuda.host("x", array.shape)[...] = -1
    cuda.download("x", array.nbytes)
    cuda.wait()
    return cuda.host("x", array.shape).copy()


@pytest.mark.gpu
def test_what_goes_up_comes_down_and_buffers_grow() -> None:
    cuda = Cuda()
    for size in (4, 64, 8):
        array = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(round_trip(cuda, array), array)


@pytest.mark.gpu
def test_a_graph_copies_what_lies_there_when_it_is_replayed() -> None:
    cuda = Cuda()
    cuda.buffer("x", 16)

    def there_and_back() -> None:
        cuda.upload("x", 16)
        cuda.download("x", 16)

    graph = cuda.capture(there_and_back)
    array = np.arange(4, dtype=np.float32)
    cuda.host("x", (4,))[...] = array
    cuda.replay(graph)
    cuda.wait()
    np.testing.assert_array_equal(cuda.host("x", (4,)), array)


def test_buffers_grow_and_the_old_ones_are_freed(driver: Driver) -> None:
    cuda = Cuda()
    for size in (4, 64, 8):
        array = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(round_trip(cuda, array), array)
    for kept in (driver.live, driver.pinned):
        assert [len(block) for block in kept.values()] == [256]


def test_an_address_that_was_freed_is_never_used_again(driver: Driver) -> None:
    cuda = Cuda()
    cuda.buffer("x", 16)
    driver.largest = 100
    with pytest.raises(CudaError, match="cuMemAlloc_v2 failed: out of memory"):
        cuda.buffer("x", 256)
    array = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(round_trip(cuda, array), array)


def test_a_capture_ends_also_where_it_cannot_be_finished(driver: Driver) -> None:
    cuda = Cuda()

    def fails() -> None:
        raise CudaError("no graph holds this")

    with pytest.raises(CudaError, match="no graph holds this"):
        cuda.capture(fails)
    array = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(round_trip(cuda, array), array)
