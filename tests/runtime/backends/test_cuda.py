"""The driver's calls: the real driver's where there is a GPU, else one of the tests."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.runtime.backends.cuda import Cuda, CudaError
from pipeline.runtime.backends.driver_process import find_gpus
from tests.fixtures.fake_gpu import Driver

GPUS, REASON = find_gpus()


@pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
def test_no_driver_is_an_error_of_its_own() -> None:
    with pytest.raises(CudaError, match=r"no NVIDIA driver|cuInit failed"):
        Cuda()


@pytest.mark.skipif(not GPUS, reason=f"needs a GPU: {REASON}")
def test_what_goes_up_comes_down_and_buffers_grow() -> None:
    cuda = Cuda()
    for size in (4, 64, 8):
        array = np.arange(size, dtype=np.float32)
        cuda.upload("x", array)
        np.testing.assert_array_equal(cuda.download("x", (size,)), array)


def test_buffers_grow_and_the_old_one_is_freed(driver: Driver) -> None:
    cuda = Cuda()
    for size in (4, 64, 8):
        array = np.arange(size, dtype=np.float32)
        cuda.upload("x", array)
        np.testing.assert_array_equal(cuda.download("x", (size,)), array)
    assert [len(block) for block in driver.live.values()] == [256]


def test_an_address_that_was_freed_is_never_used_again(driver: Driver) -> None:
    cuda = Cuda()
    cuda.upload("x", np.zeros(4, np.float32))
    driver.largest = 100
    with pytest.raises(CudaError, match="cuMemAlloc_v2 failed: out of memory"):
        cuda.upload("x", np.zeros(64, np.float32))
    array = np.arange(3, dtype=np.float32)
    cuda.upload("x", array)
    np.testing.assert_array_equal(cuda.download("x", (3,)), array)
