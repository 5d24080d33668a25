from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.training.memory import (
    USABLE,
    BatchMemory,
    MemoryLimitError,
    PeakMemory,
    choose_batch,
    free_bytes,
)
from tests.fixtures.policy import make_fitted, random_states

CPU = torch.device("cpu")


def test_what_lives_at_once_is_counted() -> None:
    outside = torch.ones(1000)
    with PeakMemory() as memory:
        first = outside * 2
        second = first + outside
        del first
        view = second[:10]
        in_place = view.add_(1)
        third = outside - 1
    assert memory.peak == 2 * 4000
    del second, view, in_place, third


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_a_step_takes_no_more_than_was_extrapolated(
    params: Params, layout: Layout, rng: np.random.Generator, network: str
) -> None:
    model = make_fitted(params.override("policy", network=network), layout, rng).train()
    obs = torch.from_numpy(random_states(rng, layout, 1, 2))
    action = obs[:, -1:, :6].expand(1, 16, 6).clone()
    memory = BatchMemory(model, obs, action, 2)
    assert all(weight.grad is None for weight in model.parameters())
    batch = 200
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    with PeakMemory() as found:
        noise, steps = torch.randn(2 * batch, 16, 6), torch.randint(100, (2 * batch,))
        loss = model.loss(obs.repeat(batch, 1, 1), action.repeat(batch, 1, 1), noise, steps)
        torch.autograd.backward(loss)
        optimizer.step()
    assert 0.5 * memory.needed(batch) < found.peak < 1.1 * memory.needed(batch)


@pytest.fixture
def memory() -> BatchMemory:
    """One megabyte for the weights and a kilobyte a window."""
    made = BatchMemory.__new__(BatchMemory)
    made.fixed, made.window = 1e6, 1e3
    return made


def test_the_largest_power_of_two_is_found(memory: BatchMemory) -> None:
    free = int(memory.needed(1000) / USABLE)
    assert memory.fitting(free) == 512
    assert memory.fitting(int(1e6)) == 0


def test_auto_takes_what_fits_up_to_what_the_device_is_good_for(memory: BatchMemory) -> None:
    assert choose_batch("auto", memory, 10**9, CPU) == 64
    assert choose_batch("auto", memory, 10**9, torch.device("cuda")) == 256
    assert choose_batch("auto", memory, int(memory.needed(40) / USABLE), CPU) == 32
    assert choose_batch(1000, memory, 10**9, CPU) == 1000


def test_a_batch_that_does_not_fit_is_refused_with_the_one_that_would(memory: BatchMemory) -> None:
    free = int(memory.needed(100) / USABLE)
    with pytest.raises(MemoryLimitError, match=r"batch_size is 128.*batch_size 64 \(or auto\)"):
        choose_batch(128, memory, free, CPU)
    with pytest.raises(MemoryLimitError, match="smaller network"):
        choose_batch("auto", memory, 1000, CPU)


def test_this_machine_s_memory_is_known() -> None:
    assert 2**20 < free_bytes(CPU) < 2**50
