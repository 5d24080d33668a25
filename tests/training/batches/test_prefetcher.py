"""Every window comes once per epoch, and a resumed training gets the remaining batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.training.batches.prefetcher import Prefetcher
from pipeline.training.batches.windows import Windows
from pipeline.training.trainer import Prepared, Trainer
from tests.fixtures.policy import make_fitted, make_limits, random_states

WINDOWS, BATCH, STEPS = 70, 8, 9


@pytest.fixture(autouse=True)
def _three_steps_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.trainer.BLOCK", 3 * BATCH)


@pytest.fixture
def prefetcher(params: Params, layout: Layout) -> Prefetcher:
    return make_prefetcher(params, layout)


def make_prefetcher(params: Params, layout: Layout) -> Prefetcher:
    rng = np.random.default_rng(0)
    states = torch.from_numpy(random_states(rng, layout, WINDOWS + 20))
    rows = torch.arange(WINDOWS)[:, None]
    windows = Windows(states, states[:, :6] + 0.1, rows + torch.arange(2), rows + torch.arange(16))
    model = make_fitted(params, layout, np.random.default_rng(1))
    # Windows unperturbed, so that each is known by its condition.
    train = params.override(
        "train", batch_size=BATCH, noise_probability=0.0, noise_velocity_rad_s=0.0
    ).train
    generator = torch.Generator().manual_seed(0)
    return Prefetcher(windows, Trainer(model, train, 100, generator, make_limits(params)))


def epoch(prefetcher: Prefetcher, first: int = 0) -> list[Prepared]:
    return [prefetcher.batch(index) for index in range(first, prefetcher.steps)]


def same(first: Prepared, second: Prepared) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_an_epoch_holds_every_window_once(prefetcher: Prefetcher) -> None:
    assert prefetcher.steps == STEPS
    batches = epoch(prefetcher)
    assert [len(batch) for batch in batches] == [BATCH] * 8 + [WINDOWS - 8 * BATCH]
    seen = torch.cat([batch.condition for batch in batches])
    assert len(torch.unique(seen, dim=0)) == WINDOWS
    assert not same(batches[0], prefetcher.batch(0)), "the next epoch has another order"


@pytest.mark.parametrize("stop", range(STEPS + 1))
def test_a_resumed_prefetcher_gives_the_remaining_batches(
    prefetcher: Prefetcher, params: Params, layout: Layout, stop: int
) -> None:
    epoch(prefetcher)
    calm = epoch(prefetcher) + epoch(prefetcher)
    stopped, again = make_prefetcher(params, layout), make_prefetcher(params, layout)
    epoch(stopped)
    for index in range(stop):
        stopped.batch(index)
    states, generator = stopped.state_dict(), stopped.trainer.generator.get_state()
    again.trainer.generator.set_state(generator)
    index = stop % STEPS
    again.resume(states, index)
    rest = epoch(again, index) + epoch(again)
    assert all(map(same, rest[: STEPS - index], calm[stop : stop + STEPS - index]))


@pytest.mark.parametrize("index", [0, 2, 3])
def test_a_batch_that_is_taken_back_comes_again(
    prefetcher: Prefetcher, params: Params, layout: Layout, index: int
) -> None:
    for earlier in range(index):
        prefetcher.batch(earlier)
    before = prefetcher.trainer.generator.get_state()
    batch = prefetcher.batch(index)
    prefetcher.undo()
    assert torch.equal(prefetcher.trainer.generator.get_state(), before)
    again = make_prefetcher(params, layout)
    again.trainer.generator.set_state(before)
    again.resume(prefetcher.state_dict(), index)
    assert same(again.batch(index), batch)
