"""The driver's calls. Without a GPU only the refusal can be tried."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.runtime.backends.cuda import Cuda, CudaError
from pipeline.runtime.backends.driver_process import find_gpus

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
