from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.model import PolicyModel
from pipeline.training import memory as memory_module
from pipeline.training.memory import (
    USABLE,
    BatchMemory,
    MemoryLimitError,
    PeakMemory,
    choose_batch,
    free_bytes,
    largest_that_runs,
    try_batch,
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


def measure_step(model: PolicyModel, obs: torch.Tensor, action: torch.Tensor, batch: int) -> int:
    """Bytes that a real step of so many windows takes at once, two draws each."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    with PeakMemory() as found:
        noise, steps = torch.randn(2 * batch, 16, 6), torch.randint(100, (2 * batch,))
        loss = model.loss(obs.repeat(batch, 1, 1), action.repeat(batch, 1, 1), noise, steps)
        torch.autograd.backward(loss)
        optimizer.step()
    return found.peak


@pytest.fixture
def window(layout: Layout, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    obs = torch.from_numpy(random_states(rng, layout, 1, 2))
    return obs, obs[:, -1:, :6].expand(1, 16, 6).clone()


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_a_step_takes_no_more_than_was_extrapolated(
    params: Params,
    layout: Layout,
    rng: np.random.Generator,
    window: tuple[torch.Tensor, torch.Tensor],
    network: str,
) -> None:
    model = make_fitted(params.override("policy", network=network), layout, rng).train()
    memory = BatchMemory(model, *window, 2)
    assert all(weight.grad is None for weight in model.parameters())
    assert 0.5 * memory.needed(200) < measure_step(model, *window, 200) < 1.1 * memory.needed(200)


def test_the_chosen_batch_really_fits_and_a_much_larger_one_does_not(
    fitted: PolicyModel, window: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = fitted.train()
    memory = BatchMemory(model, *window, 2)
    free = int(memory.needed(40) / USABLE)
    chosen = choose_batch("auto", memory, free, CPU)
    assert chosen == 32
    assert measure_step(model, *window, chosen) < free
    assert measure_step(model, *window, 8 * chosen) > free


def test_auto_takes_no_more_than_the_device_is_good_for_and_a_number_is_obeyed(
    fitted: PolicyModel, window: tuple[torch.Tensor, torch.Tensor]
) -> None:
    memory = BatchMemory(fitted.train(), *window, 2)
    free = int(memory.needed(2000) / USABLE)
    assert choose_batch("auto", memory, free, CPU) == 64
    assert choose_batch("auto", memory, free, torch.device("cuda")) == 256
    assert choose_batch(1000, memory, free, CPU) == 1000


def test_a_batch_that_does_not_fit_is_refused_with_the_one_that_would(
    fitted: PolicyModel, window: tuple[torch.Tensor, torch.Tensor]
) -> None:
    memory = BatchMemory(fitted.train(), *window, 2)
    free = int(memory.needed(100) / USABLE)
    with pytest.raises(MemoryLimitError, match=r"batch_size is 128.*batch_size 64 \(or auto\)"):
        choose_batch(128, memory, free, CPU)
    assert choose_batch(64, memory, free, CPU) == 64
    with pytest.raises(MemoryLimitError, match="smaller network"):
        choose_batch("auto", memory, 1000, CPU)


def test_this_machine_s_memory_is_known() -> None:
    assert 2**20 < free_bytes(CPU) < 2**50


@pytest.mark.parametrize("workspace", [0, 10**9])
def test_what_the_first_pass_allocates_for_good_makes_no_batch_cheaper(
    fitted: PolicyModel,
    window: tuple[torch.Tensor, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    workspace: int,
) -> None:
    """As cuBLAS does on a GPU: its workspace stays after the first matrix product."""
    passes: list[int] = []

    def measured(model: PolicyModel, obs: torch.Tensor, *_: object) -> int:
        passes.append(len(obs))
        return 1000 * len(obs) + (workspace if len(passes) == 1 else 0)

    monkeypatch.setattr(memory_module, "forward_bytes", measured)
    memory = BatchMemory(fitted, *window, 2)
    assert memory.window == 1000
    assert choose_batch("auto", memory, 10**9, torch.device("cuda")) == 256


def test_a_device_that_reports_nothing_still_gets_a_batch(
    fitted: PolicyModel, window: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "forward_bytes", lambda *_: 0)
    memory = BatchMemory(fitted, *window, 2)
    assert choose_batch("auto", memory, 10**9, torch.device("cuda")) == 256


@pytest.mark.parametrize("room", [256, 100, 1])
def test_a_batch_is_halved_until_it_runs(room: int) -> None:
    tried: list[int] = []

    def run(windows: int) -> None:
        tried.append(windows)
        if windows > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    found = largest_that_runs(256, run)
    assert room / 2 < found <= room
    assert tried == [256 >> turn for turn in range(len(tried))]


def test_a_device_without_room_for_one_window_and_other_errors_are_told() -> None:
    def full(windows: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(MemoryLimitError, match=r"one window does not fit \(CUDA out of memory"):
        largest_that_runs(8, full)

    def wrong(windows: int) -> None:
        raise RuntimeError("a shape is wrong")

    with pytest.raises(RuntimeError, match="a shape is wrong"):
        largest_that_runs(8, wrong)


def test_a_tried_step_leaves_no_gradients(
    fitted: PolicyModel, window: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = fitted.train().requires_grad_(True)
    assert try_batch(model, *window, 2, 16) == 16
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.gpu
@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_a_step_on_a_gpu_takes_no_more_than_was_extrapolated(
    params: Params, layout: Layout, rng: np.random.Generator, network: str
) -> None:
    device = torch.device("cuda")
    model = make_fitted(params.override("policy", network=network), layout, rng).train().to(device)
    obs = torch.from_numpy(random_states(rng, layout, 1, 2)).to(device)
    action = obs[:, -1:, :6].expand(1, 16, 6).clone()
    memory = BatchMemory(model, obs, action, 2)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    assert try_batch(model, obs, action, 2, 256) == 256
    assert torch.cuda.max_memory_allocated(device) - before < 1.2 * memory.needed(256)
