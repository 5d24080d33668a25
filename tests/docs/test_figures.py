"""The guide's table of batches is what the pipeline computes."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.training.memory import BatchMemory
from tests.fixtures.policy import make_fitted, random_states

from .blocks import REPOSITORY

ROW = re.compile(r"^\| (\d+) GB \| (\d+) \| ([\d.]+) GB \| ([\d.]+) GB \|", re.M)


@pytest.mark.slow
def test_memory_by_batch(params: Params) -> None:
    rows = ROW.findall((REPOSITORY / "docs/en/guide.md").read_text())
    assert [(gpu, batch) for gpu, batch, _, _ in rows] == [
        ("8", "32"), ("12", "64"), ("16", "128"), ("24", "256"),
    ]  # fmt: skip
    layout, rng = Layout.from_params(params), np.random.default_rng(0)
    obs = torch.from_numpy(random_states(rng, layout, 1, 2))
    action = obs[:, -1:, :6].expand(1, 16, 6).clone()
    wide = params.override("policy", network="unet", unet_channels=(256, 512, 1024))
    for column, chosen in ((2, params), (3, wide)):
        model = make_fitted(chosen, layout, rng).train()
        memory = BatchMemory(model, obs, action, chosen.train.noise_draws)
        for row in rows:
            found = memory.needed(int(row[1])) / 1e9
            assert found == pytest.approx(float(row[column]), abs=0.006)
            # "Every batch of the table fits 8 GB."
            assert found < 8
