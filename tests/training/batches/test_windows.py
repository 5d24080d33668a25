"""Windows in memory are the rows that their indices name, with their episode's obstacles."""

from __future__ import annotations

import torch

from pipeline.training.batches.windows import Windows


def test_a_batch_has_the_rows_of_its_windows_and_their_obstacles() -> None:
    state, action = torch.arange(8.0).reshape(4, 2), torch.arange(4.0).reshape(4, 1)
    obs_rows, action_rows = torch.tensor([[0, 0], [2, 3]]), torch.tensor([[0, 1], [3, 3]])
    plain = Windows(state, action, obs_rows, action_rows)
    obs, labels = plain.batch(torch.tensor([1]))
    assert obs.tolist() == [[[4.0, 5.0], [6.0, 7.0]]]
    assert labels.tolist() == [[[3.0], [3.0]]]
    around, episode = torch.tensor([[10.0, 11.0, 12.0], [20.0, 21.0, 22.0]]), torch.tensor([0, 1])
    arranged = Windows(state, action, obs_rows, action_rows, around, episode)
    obs, _ = arranged.batch(torch.tensor([1, 0]))
    assert obs[0].tolist() == [[4.0, 5.0, 20.0, 21.0, 22.0], [6.0, 7.0, 20.0, 21.0, 22.0]]
    assert obs[1, 0].tolist() == [0.0, 1.0, 10.0, 11.0, 12.0]


def test_batches_are_all_windows_in_order() -> None:
    rows = torch.arange(5)[:, None]
    windows = Windows(torch.arange(5.0)[:, None], torch.arange(5.0)[:, None], rows, rows)
    sizes = [len(obs) for obs, _ in windows.batches(2)]
    assert sizes == [2, 2, 1]
    assert torch.cat([obs for obs, _ in windows.batches(2)]).flatten().tolist() == list(range(5))
    order = windows.order(torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(5))
