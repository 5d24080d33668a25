"""The driver's calls. Without a GPU only the refusal can be tried."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.policy.child import find_gpus
from pipeline.policy.cuda import Cuda, CudaError

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
