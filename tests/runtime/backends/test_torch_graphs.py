"""A checkpoint as CUDA graphs: only a GPU can run it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.policy.checkpoint import Checkpoint, save_checkpoint
from pipeline.runtime.backends.torch_checkpoint import TorchPolicy
from pipeline.runtime.backends.torch_graphs import GraphError, TorchGraphPolicy


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="torch sees none"):
        TorchGraphPolicy(tmp_path / "best_model.pt")


@pytest.mark.gpu
def test_every_batch_size_gets_the_chunks_of_eager_mode(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best_model.pt", checkpoint)
    eager, graphs = (kind(tmp_path / "best_model.pt") for kind in (TorchPolicy, TorchGraphPolicy))
    examples, rng = checkpoint.examples.numpy(), np.random.default_rng(0)
    for size in (1, 3, 1, 3, 2):
        noise = rng.standard_normal((size, 16, 6), dtype=np.float32)
        found = graphs.predict(examples[:size], noise)
        np.testing.assert_allclose(found, eager.predict(examples[:size], noise), atol=1e-5)
