"""A feed gives every window once an epoch, and after a stop the batches that were to come."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.training.prefetcher import Feed
from pipeline.training.trainer import Prepared, Trainer, Windows
from tests.fixtures.policy import make_fitted, random_states

WINDOWS, BATCH, STEPS = 70, 8, 9


@pytest.fixture(autouse=True)
def _three_steps_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.trainer.BLOCK", 3 * BATCH)


@pytest.fixture
def feed(params: Params, layout: Layout) -> Feed:
    return make_feed(params, layout)


def make_feed(params: Params, layout: Layout) -> Feed:
    rng = np.random.default_rng(0)
    states = torch.from_numpy(random_states(rng, layout, WINDOWS + 20))
    rows = torch.arange(WINDOWS)[:, None]
    windows = Windows(states, states[:, :6] + 0.1, rows + torch.arange(2), rows + torch.arange(16))
    model = make_fitted(params, layout, np.random.default_rng(1))
    # Windows unperturbed, so that each is known by its condition.
    train = params.override(
        "train", batch_size=BATCH, noise_probability=0.0, noise_velocity_rad_s=0.0
    ).train
    return Feed(windows, Trainer(model, train, 100, torch.Generator().manual_seed(0)))


def epoch(feed: Feed, first: int = 0) -> list[Prepared]:
    return [feed.batch(index) for index in range(first, feed.steps)]


def same(first: Prepared, second: Prepared) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_an_epoch_holds_every_window_once(feed: Feed) -> None:
    assert feed.steps == STEPS
    batches = epoch(feed)
    assert [len(batch) for batch in batches] == [BATCH] * 8 + [WINDOWS - 8 * BATCH]
    seen = torch.cat([batch.condition for batch in batches])
    assert len(torch.unique(seen, dim=0)) == WINDOWS
    assert not same(batches[0], feed.batch(0)), "the next epoch has another order"


@pytest.mark.parametrize("stop", range(STEPS + 1))
def test_a_feed_goes_on_with_the_batches_that_were_to_come(
    feed: Feed, params: Params, layout: Layout, stop: int
) -> None:
    epoch(feed)
    calm = epoch(feed) + epoch(feed)
    stopped, again = make_feed(params, layout), make_feed(params, layout)
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
    feed: Feed, params: Params, layout: Layout, index: int
) -> None:
    for earlier in range(index):
        feed.batch(earlier)
    before = feed.trainer.generator.get_state()
    batch = feed.batch(index)
    feed.take_back()
    assert torch.equal(feed.trainer.generator.get_state(), before)
    again = make_feed(params, layout)
    again.trainer.generator.set_state(before)
    again.resume(feed.state_dict(), index)
    assert same(again.batch(index), batch)
